package bioqa;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.lucene.codecs.KnnVectorsFormat;
import org.apache.lucene.codecs.lucene99.Lucene99Codec;
import org.apache.lucene.codecs.lucene99.Lucene99HnswScalarQuantizedVectorsFormat;

/**
 * Lucene's own codec, which writes vectors with an HNSW graph over 8-bit integers. Both formats are Lucene's and are recorded under its
 * names, so that any program with this version of Lucene can open the index.
 */
public final class VectorCodec extends Lucene99Codec {
  /** Lucene's defaults: neighbours of a node, and candidates considered for them. */
  private static final int NEIGHBOURS = 16, BEAM = 100;

  private final KnnVectorsFormat format;

  /** Graphs are merged on all cores. */
  public VectorCodec() {
    int threads = Runtime.getRuntime().availableProcessors();
    format =
        new Lucene99HnswScalarQuantizedVectorsFormat(NEIGHBOURS, BEAM, threads, null, threads == 1 ? null : Threads.POOL);
  }

  @Override
  public KnnVectorsFormat getKnnVectorsFormatForField(String field) {
    return format;
  }

  /** Threads that end when they have been idle for a minute, or with the process; made when first used. */
  private static final class Threads {
    static final ExecutorService POOL =
        Executors.newCachedThreadPool(
            task -> {
              Thread thread = new Thread(task, "bioqa-merge");
              thread.setDaemon(true);
              return thread;
            });
  }
}
