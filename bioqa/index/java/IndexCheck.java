package bioqa;

import java.io.IOException;
import java.nio.file.Path;
import org.apache.lucene.index.CheckIndex;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.store.NoLockFactory;

/** Checks every byte of an index, without writing or locking anything. */
public final class IndexCheck {
  private IndexCheck() {}

  /** Damaged segments, and documents lost with them; null if the index is clean. */
  public static int[] damage(String folder) throws IOException {
    try (Directory directory = FSDirectory.open(Path.of(folder), NoLockFactory.INSTANCE);
        CheckIndex checker = new CheckIndex(directory)) {
      CheckIndex.Status status = checker.checkIndex();
      return status.clean ? null : new int[] {status.numBadSegments, status.totLoseDocCount};
    }
  }
}
