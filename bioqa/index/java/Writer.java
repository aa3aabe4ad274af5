package bioqa;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.IndexWriterConfig.OpenMode;
import org.apache.lucene.index.MergePolicy;
import org.apache.lucene.index.NoMergePolicy;
import org.apache.lucene.index.TieredMergePolicy;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.store.Lock;

/** Writes indexes. All methods are static, so that Python can call them beside searches in other threads. */
public final class Writer {
  private Writer() {}

  /** A writer of the index in a folder, a new one if {@code create}, that keeps the last complete commit. */
  public static IndexWriter open(String folder, Analyzer analyzer, boolean create, double ramMB) throws IOException {
    IndexWriterConfig config = new IndexWriterConfig(analyzer);
    config.setOpenMode(create ? OpenMode.CREATE : OpenMode.APPEND);
    config.setRAMBufferSizeMB(ramMB);
    config.setCommitOnClose(false);
    config.setIndexDeletionPolicy(new KeepCompleteCommit());
    config.setCodec(new VectorCodec());
    return make(folder, config);
  }

  /** A writer of a new shard that never merges segments: the index that it is added to does. */
  public static IndexWriter openShard(String folder, Analyzer analyzer, double ramMB) throws IOException {
    IndexWriterConfig config = new IndexWriterConfig(analyzer);
    config.setOpenMode(OpenMode.CREATE);
    config.setRAMBufferSizeMB(ramMB);
    config.setUseCompoundFile(false);
    config.setMergePolicy(NoMergePolicy.INSTANCE);
    return make(folder, config);
  }

  private static IndexWriter make(String folder, IndexWriterConfig config) throws IOException {
    Directory directory = FSDirectory.open(Path.of(folder));
    try {
      return new IndexWriter(directory, config);
    } catch (Throwable problem) {
      directory.close();
      throw problem;
    }
  }

  /** Drops what is not committed, and closes the writer. */
  public static void close(IndexWriter writer) throws IOException {
    try (Directory directory = writer.getDirectory()) {
      writer.rollback();
    }
  }

  /** Adds the index in another folder. */
  public static void addShard(IndexWriter writer, String folder) throws IOException {
    try (Directory shard = FSDirectory.open(Path.of(folder))) {
      writer.addIndexes(shard);
    }
  }

  /** Commits with user data: a name and its value, the next name and its value, and so on. */
  public static void commit(IndexWriter writer, String[] userData) throws IOException {
    Map<String, String> data = new LinkedHashMap<>();
    for (int i = 0; i < userData.length; i += 2) {
      data.put(userData[i], userData[i + 1]);
    }
    writer.setLiveCommitData(data.entrySet());
    writer.commit();
  }

  /** The number of documents: those that are not deleted, and all. */
  public static int[] counts(IndexWriter writer) {
    IndexWriter.DocStats stats = writer.getDocStats();
    return new int[] {stats.numDocs, stats.maxDoc};
  }

  /** Merges deleted documents away. */
  public static void compact(IndexWriter writer) throws IOException {
    TieredMergePolicy complete = new TieredMergePolicy();
    complete.setForceMergeDeletesPctAllowed(0.0);
    MergePolicy usual = writer.getConfig().getMergePolicy();
    writer.getConfig().setMergePolicy(complete);
    try {
      writer.forceMergeDeletes(true);
    } finally {
      writer.getConfig().setMergePolicy(usual);
    }
  }

  /** Locks the index in a folder, as a writer does. */
  public static Lock lock(String folder) throws IOException {
    try (Directory directory = FSDirectory.open(Path.of(folder))) {
      return directory.obtainLock(IndexWriter.WRITE_LOCK_NAME);
    }
  }

  /** Unlocks what {@link #lock} locked. */
  public static void unlock(Lock lock) throws IOException {
    lock.close();
  }
}
