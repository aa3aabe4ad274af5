package bioqa;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.util.List;
import org.apache.lucene.index.CorruptIndexException;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexCommit;
import org.apache.lucene.index.SegmentInfos;
import org.apache.lucene.store.Directory;

/** Finds and opens the commits that end a build or an update. */
public final class CompleteCommits {
  private CompleteCommits() {}

  /** Whether a commit ends a build or an update. */
  static boolean isComplete(IndexCommit commit) throws IOException {
    return "complete".equals(commit.getUserData().get("bioqa.state"));
  }

  /** The latest commit, or the latest complete one if {@code complete}; null if there is none. */
  public static IndexCommit latest(Directory directory, boolean complete) throws IOException {
    return retry(directory, () -> find(directory, complete));
  }

  /** A reader of the latest complete commit; null if there is none. */
  public static DirectoryReader open(Directory directory) throws IOException {
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
