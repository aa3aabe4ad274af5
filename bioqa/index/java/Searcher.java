package bioqa;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;

/** Top-k search with one query or many, on one thread or several. */
public final class Searcher {
  /** Lucene's own limit of 1,024 is too low for a question of 1,000 hyphenated words, or for a second field. */
  private static final int MAX_CLAUSES = 1 << 16;

  private Searcher() {}

  /**
   * A searcher that spreads one query over the index's segments on the threads of {@code pool}, if there are enough segments for more
   * than one thread; otherwise, or if {@code pool} is null, one that works in the caller's thread.
   */
  public static IndexSearcher open(IndexReader reader, ExecutorService pool) {
    IndexSearcher.setMaxClauseCount(MAX_CLAUSES);
    IndexSearcher parallel = pool == null ? null : new IndexSearcher(reader, pool);
    return parallel != null && parallel.getSlices().length > 1 ? parallel : new IndexSearcher(reader);
  }

  /** Threads for {@link #open}. They are daemons, so they end with the process if {@code shutdown()} is not called. */
  public static ExecutorService pool(int threads) {
    return Executors.newFixedThreadPool(
        threads,
        task -> {
          Thread thread = new Thread(task, "bioqa-search");
          thread.setDaemon(true);
          return thread;
        });
  }

  /** The best k documents, best first, as {@link PackedHits}. */
  public static byte[] search(IndexSearcher searcher, Query query, int k) throws IOException {
    return PackedHits.pack(searcher.getIndexReader().leaves(), best(searcher, query, k));
  }

  /** What {@link #search} returns for each query, on several threads. */
  public static byte[][] searchAll(IndexSearcher searcher, Query[] queries, int k, int threads) throws Exception {
    ExecutorService pool = pool(threads);
    try {
      List<Future<byte[]>> futures = new ArrayList<>();
      for (Query query : queries) {
        Callable<byte[]> task = () -> search(searcher, query, k);
        futures.add(pool.submit(task));
      }
      byte[][] results = new byte[queries.length][];
      for (int i = 0; i < results.length; i++) {
        results[i] = futures.get(i).get();
      }
      return results;
    } finally {
      pool.shutdownNow();
    }
  }

  /** The number of documents that match. */
  public static int count(IndexSearcher searcher, Query query) throws IOException {
    return searcher.count(query);
  }

  /** Lucene's own search counts hits up to 1,000 before it skips documents that cannot be among the best; no count is needed here. */
  private static long[] best(IndexSearcher searcher, Query query, int k) throws IOException {
    int most = Math.max(1, Math.min(k, searcher.getIndexReader().maxDoc()));
    return searcher.search(query, TopKCollector.manager(most, searcher.getIndexReader().leaves()));
  }
}
