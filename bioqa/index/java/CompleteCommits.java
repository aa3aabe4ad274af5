package bioqa;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.lucene.index.CorruptIndexException;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexCommit;
import org.apache.lucene.index.IndexFileNames;
import org.apache.lucene.index.SegmentInfos;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;

/**
 * Finds and opens the commits that end a build or an update. As Lucene does, they read older commits only if the last is not complete:
 * a writer may be deleting them.
 */
public final class CompleteCommits {
  private CompleteCommits() {}

  /** Whether a commit with this user data ends a build or an update. */
  static boolean isComplete(Map<String, String> userData) {
    return "complete".equals(userData.get("bioqa.state"));
  }

  /**
   * User data of the latest commit, or of the latest complete one if {@code complete}, as name, value, name, value, …; null if there is
   * none.
   */
  public static String[] userData(String folder, boolean complete) throws IOException {
    Commit commit = latest(folder, complete);
    return commit == null ? null : pairs(commit.userData);
  }

  /** User data of the commit that a reader reads. */
  public static String[] userDataOf(DirectoryReader reader) throws IOException {
    return pairs(reader.getIndexCommit().getUserData());
  }

  private static String[] pairs(Map<String, String> userData) {
    return userData.entrySet().stream().flatMap(one -> Stream.of(one.getKey(), one.getValue())).toArray(String[]::new);
  }

  /** The generation of the latest complete commit; -1 if there is none. */
  public static long generation(String folder) throws IOException {
    Commit commit = latest(folder, true);
    return commit == null ? -1 : commit.generation;
  }

  private record Commit(long generation, Map<String, String> userData) {}

  private static Commit latest(String folder, boolean complete) throws IOException {
    try (Directory directory = FSDirectory.open(Path.of(folder))) {
      return retry(
          directory,
          () -> {
            SegmentInfos last = SegmentInfos.readLatestCommit(directory);
            if (!complete || isComplete(last.getUserData())) {
              return new Commit(last.getGeneration(), last.getUserData());
            }
            IndexCommit commit = lastComplete(directory);
            return commit == null ? null : new Commit(commit.getGeneration(), commit.getUserData());
          });
    }
  }

  /** A reader of the latest complete commit; null if there is none. */
  public static DirectoryReader open(String folder) throws IOException {
    Directory directory = FSDirectory.open(Path.of(folder));
    return retry(
        directory,
        () -> {
          if (isComplete(SegmentInfos.readLatestCommit(directory).getUserData())) {
            DirectoryReader reader = DirectoryReader.open(directory);
            if (isComplete(reader.getIndexCommit().getUserData())) {
              return reader;
            }
            reader.close(); // of a commit that was made meanwhile
          }
          IndexCommit commit = lastComplete(directory);
          return commit == null ? null : DirectoryReader.open(commit);
        });
  }

  /** Closes a reader; static, so that Python can call it at any time. */
  public static void close(DirectoryReader reader) throws IOException {
    reader.close();
  }

  private static IndexCommit lastComplete(Directory directory) throws IOException {
    List<IndexCommit> commits = DirectoryReader.listCommits(directory);
    for (int i = commits.size() - 1; i >= 0; i--) {
      if (isComplete(commits.get(i).getUserData())) {
        return commits.get(i);
      }
    }
    return null;
  }

  private interface Attempt<T> {
    T make() throws IOException;
  }

  /**
   * A writer may delete a commit between its listing and its opening, which Lucene reports as a missing file or, where a segment is
   * concerned, as damage. It deletes the commit's own file first: as long as the commits have changed each time, try again.
   */
  private static <T> T retry(Directory directory, Attempt<T> attempt) throws IOException {
    while (true) {
      List<String> before = commitFiles(directory);
      try {
        return attempt.make();
      } catch (NoSuchFileException | FileNotFoundException | CorruptIndexException problem) {
        if (commitFiles(directory).equals(before)) {
          throw problem;
        }
      }
    }
  }

  private static List<String> commitFiles(Directory directory) throws IOException {
    return Arrays.stream(directory.listAll()).filter(name -> name.startsWith(IndexFileNames.SEGMENTS + "_")).toList();
  }
}
