package bioqa;

import java.io.IOException;
import java.util.List;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexCommit;
import org.apache.lucene.store.Directory;

/** Finds the commits that end a build or an update. */
public final class CompleteCommits {
  private CompleteCommits() {}

  /** Whether a commit ends a build or an update. */
  static boolean isComplete(IndexCommit commit) throws IOException {
    return "complete".equals(commit.getUserData().get("bioqa.state"));
  }

  /** The latest commit, or the latest complete one if {@code complete}; null if there is none. */
  public static IndexCommit latest(Directory directory, boolean complete) throws IOException {
    List<IndexCommit> commits = DirectoryReader.listCommits(directory);
    for (int i = commits.size() - 1; i >= 0; i--) {
      if (!complete || isComplete(commits.get(i))) {
        return commits.get(i);
      }
    }
    return null;
  }
}
