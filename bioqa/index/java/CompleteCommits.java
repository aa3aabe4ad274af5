package bioqa;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.lucene.index.CorruptIndexException;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexCommit;
import org.apache.lucene.index.SegmentInfos;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;

/** Finds and opens the commits that end a build or an update. */
public final class CompleteCommits {
  private CompleteCommits() {}

  /** Whether a commit ends a build or an update. */
  static boolean isComplete(IndexCommit commit) throws IOException {
    return "complete".equals(commit.getUserData().get("bioqa.state"));
  }

  /**
   * User data of the latest commit, or of the latest complete one if {@code complete}, as name, value, name, value, …; null if there is
   * none.
   */
  public static String[] userData(String folder, boolean complete) throws IOException {
    IndexCommit commit = latest(folder, complete);
    return commit == null ? null : pairs(commit);
  }

  /** User data of the commit that a reader reads. */
  public static String[] userDataOf(DirectoryReader reader) throws IOException {
    return pairs(reader.getIndexCommit());
  }

  private static String[] pairs(IndexCommit commit) throws IOException {
    return commit.getUserData().entrySet().stream().flatMap(one -> Stream.of(one.getKey(), one.getValue())).toArray(String[]::new);
  }

  /** The generation of the latest complete commit; -1 if there is none. */
  public static long generation(String folder) throws IOException {
    IndexCommit commit = latest(folder, true);
    return commit == null ? -1 : commit.getGeneration();
  }

  private static IndexCommit latest(String folder, boolean complete) throws IOException {
    try (Directory directory = FSDirectory.open(Path.of(folder))) {
      return retry(directory, () -> find(directory, complete));
    }
  }

  /** A reader of the latest complete commit; null if there is none. */
  public static DirectoryReader open(String folder) throws IOException {
    Directory directory = FSDirectory.open(Path.of(folder));
    return retry(
        directory,
        () -> {
          IndexCommit commit = find(directory, true);
          return commit == null ? null : DirectoryReader.open(commit);
        });
  }

  /** Closes a reader; static, so that Python can call it at any time. */
  public static void close(DirectoryReader reader) throws IOException {
    reader.close();
  }

  private static IndexCommit find(Directory directory, boolean complete) throws IOException {
    List<IndexCommit> commits = DirectoryReader.listCommits(directory);
    for (int i = commits.size() - 1; i >= 0; i--) {
      if (!complete || isComplete(commits.get(i))) {
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
   * concerned, as damage: as long as there is a newer commit each time, try again.
   */
  private static <T> T retry(Directory directory, Attempt<T> attempt) throws IOException {
    while (true) {
      long generation = SegmentInfos.getLastCommitGeneration(directory);
      try {
        return attempt.make();
      } catch (NoSuchFileException | FileNotFoundException | CorruptIndexException problem) {
        if (SegmentInfos.getLastCommitGeneration(directory) == generation) {
          throw problem;
        }
      }
    }
  }
}
