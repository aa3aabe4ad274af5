package bioqa;

import java.io.IOException;
import java.util.List;
import org.apache.lucene.index.IndexCommit;
import org.apache.lucene.index.IndexDeletionPolicy;

/**
 * Keeps the last commit and the last complete one. While an index is being rebuilt or updated, readers see the complete one; an
 * interrupted build resumes from the last.
 */
public final class KeepCompleteCommit extends IndexDeletionPolicy {
  @Override
  public void onInit(List<? extends IndexCommit> commits) throws IOException {
    onCommit(commits);
  }

  @Override
  public void onCommit(List<? extends IndexCommit> commits) throws IOException {
    IndexCommit last = commits.isEmpty() ? null : commits.get(commits.size() - 1);
    IndexCommit complete = null;
    for (IndexCommit commit : commits) {
      if (CompleteCommits.isComplete(commit.getUserData())) {
        complete = commit;
      }
    }
    for (IndexCommit commit : commits) {
      if (commit != last && commit != complete) {
        commit.delete();
      }
    }
  }
}
