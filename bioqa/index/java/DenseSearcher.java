package bioqa;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import org.apache.lucene.index.FloatVectorValues;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.search.Scorer;
import org.apache.lucene.search.TopKnnCollector;
import org.apache.lucene.search.Weight;
import org.apache.lucene.util.Bits;
import org.apache.lucene.util.FixedBitSet;
import org.apache.lucene.util.VectorUtil;

/**
 * Finds the documents whose vectors have the highest inner product with that of a question. The graph over 8-bit integers proposes
 * candidates, whose inner products are then computed from the vectors themselves; few documents are all compared.
 */
public final class DenseSearcher {
  /** Up to so many documents that pass the filter, all are compared: that takes a few milliseconds. */
  private static final int EXACT = 10_000;

  private final List<LeafReaderContext> leaves;
  /** The documents of each segment that may be found; null for all. */
  private final Bits[] accepted;
  /** How many documents of each segment have a vector and, with a filter, at most how many may be found. */
  private final int[] counts;

  private DenseSearcher(List<LeafReaderContext> leaves, Bits[] accepted, int[] counts) {
    this.leaves = leaves;
    this.accepted = accepted;
    this.counts = counts;
  }

  /** A searcher of the documents that match {@code filter}, all if it is null. */
  public static DenseSearcher open(IndexSearcher searcher, Query filter) throws IOException {
    List<LeafReaderContext> leaves = searcher.getIndexReader().leaves();
    Weight weight = filter == null ? null : searcher.createWeight(searcher.rewrite(filter), ScoreMode.COMPLETE_NO_SCORES, 1);
    Bits[] accepted = new Bits[leaves.size()];
    int[] counts = new int[leaves.size()];
    for (int i = 0; i < counts.length; i++) {
      LeafReaderContext leaf = leaves.get(i);
      FloatVectorValues vectors = leaf.reader().getFloatVectorValues(VectorWriter.FIELD);
      accepted[i] = leaf.reader().getLiveDocs();
      counts[i] = vectors == null ? 0 : vectors.size();
      if (weight != null) {
        FixedBitSet passing = passing(leaf, weight);
        accepted[i] = passing;
        counts[i] = Math.min(counts[i], passing.cardinality());
      }
    }
    return new DenseSearcher(leaves, accepted, counts);
  }

  private static FixedBitSet passing(LeafReaderContext leaf, Weight weight) throws IOException {
    FixedBitSet passing = new FixedBitSet(leaf.reader().maxDoc());
    Scorer scorer = weight.scorer(leaf);
    Bits live = leaf.reader().getLiveDocs();
    if (scorer != null) {
      DocIdSetIterator docs = scorer.iterator();
      for (int doc = docs.nextDoc(); doc != DocIdSetIterator.NO_MORE_DOCS; doc = docs.nextDoc()) {
        if (live == null || live.get(doc)) {
          passing.set(doc);
        }
      }
    }
    return passing;
  }

  /**
   * The best k documents for a vector, best first, as {@link PackedHits}; {@code query} are its floats in the machine's byte order. The
   * graph of each segment is asked for {@code candidates} documents; 0 compares all. The segments are searched on the threads of
   * {@code pool}, or in the caller's thread if it is null.
   */
  public static byte[] search(DenseSearcher searcher, byte[] query, int k, int candidates, ExecutorService pool) throws Exception {
    float[] vector = new float[query.length / Float.BYTES];
    ByteBuffer.wrap(query).order(ByteOrder.nativeOrder()).asFloatBuffer().get(vector);
    return searcher.search(vector, k, candidates, pool);
  }

  /** What {@link #search} returns for each of several vectors of that dimension, on several threads. */
  public static byte[][] searchAll(DenseSearcher searcher, byte[] queries, int dimension, int k, int candidates, int threads)
      throws Exception {
    int size = dimension * Float.BYTES;
    List<Callable<byte[]>> tasks = new ArrayList<>();
    for (int at = 0; at < queries.length; at += size) {
      byte[] query = Arrays.copyOfRange(queries, at, at + size);
      tasks.add(() -> search(searcher, query, k, candidates, null));
    }
    ExecutorService pool = Searcher.pool(threads);
    try {
      List<byte[]> results = all(tasks, pool);
      return results.toArray(new byte[0][]);
    } finally {
      pool.shutdownNow();
    }
  }

  /** The inner product of a vector with that of a document; not a number if it has none. */
  public static float score(DenseSearcher searcher, byte[] query, int doc) throws IOException {
    float[] vector = new float[query.length / Float.BYTES];
    ByteBuffer.wrap(query).order(ByteOrder.nativeOrder()).asFloatBuffer().get(vector);
    float[] found = searcher.vector(doc);
    return found == null ? Float.NaN : VectorUtil.dotProduct(vector, found);
  }

  /** The vector of a document as floats in the machine's byte order; null if it has none, or there is no such document. */
  public static byte[] vector(DenseSearcher searcher, int doc) throws IOException {
    float[] found = searcher.vector(doc);
    if (found == null) {
      return null;
    }
    ByteBuffer packed = ByteBuffer.allocate(found.length * Float.BYTES).order(ByteOrder.nativeOrder());
    packed.asFloatBuffer().put(found);
    return packed.array();
  }

  private float[] vector(int doc) throws IOException {
    for (LeafReaderContext leaf : leaves) {
      int place = doc - leaf.docBase;
      if (place >= 0 && place < leaf.reader().maxDoc()) {
        FloatVectorValues vectors = leaf.reader().getFloatVectorValues(VectorWriter.FIELD);
        return vectors != null && vectors.advance(place) == place ? vectors.vectorValue() : null;
      }
    }
    return null;
  }

  private byte[] search(float[] query, int k, int candidates, ExecutorService pool) throws Exception {
    boolean exact = candidates == 0 || Arrays.stream(counts).asLongStream().sum() <= EXACT;
    List<Callable<long[]>> tasks = new ArrayList<>();
    for (int i = 0; i < counts.length; i++) {
      int leaf = i;
      if (counts[i] > 0) {
        tasks.add(() -> exact || counts[leaf] <= candidates ? compareAll(leaf, query) : searchGraph(leaf, query, candidates));
      }
    }
    List<long[]> found = all(tasks, tasks.size() > 1 ? pool : null);
    long[] hits = new long[found.stream().mapToInt(one -> one.length).sum()];
    int count = 0;
    for (long[] one : found) {
      System.arraycopy(one, 0, hits, count, one.length);
      count += one.length;
    }
    return PackedHits.pack(leaves, TopKCollector.best(hits, count, Math.max(1, k), leaves));
  }

  private static <T> List<T> all(List<Callable<T>> tasks, ExecutorService pool) throws Exception {
    List<T> results = new ArrayList<>();
    if (pool == null) {
      for (Callable<T> task : tasks) {
        results.add(task.call());
      }
      return results;
    }
    try {
      for (Future<T> future : pool.invokeAll(tasks)) {
        results.add(future.get());
      }
    } catch (ExecutionException problem) {
      throw problem.getCause() instanceof Exception cause ? cause : problem;
    }
    return results;
  }

  private long[] searchGraph(int number, float[] query, int candidates) throws IOException {
    LeafReaderContext leaf = leaves.get(number);
    TopKnnCollector collector = new TopKnnCollector(candidates, counts[number]);
    leaf.reader().searchNearestVectors(VectorWriter.FIELD, query, collector, accepted[number]);
    if (collector.earlyTerminated()) { // the filter left so few that the graph was searched in vain
      return compareAll(number, query);
    }
    ScoreDoc[] found = collector.topDocs().scoreDocs;
    int[] docs = Arrays.stream(found).mapToInt(one -> one.doc).sorted().toArray();
    FloatVectorValues vectors = leaf.reader().getFloatVectorValues(VectorWriter.FIELD);
    long[] hits = new long[docs.length];
    for (int i = 0; i < docs.length; i++) {
      vectors.advance(docs[i]);
      hits[i] = PackedHits.hit(leaf.docBase + docs[i], VectorUtil.dotProduct(query, vectors.vectorValue()));
    }
    return hits;
  }

  private long[] compareAll(int number, float[] query) throws IOException {
    LeafReaderContext leaf = leaves.get(number);
    FloatVectorValues vectors = leaf.reader().getFloatVectorValues(VectorWriter.FIELD);
    long[] hits = new long[vectors.size()];
    int count = 0;
    for (int doc = vectors.nextDoc(); doc != DocIdSetIterator.NO_MORE_DOCS; doc = vectors.nextDoc()) {
      if (accepted[number] == null || accepted[number].get(doc)) {
        hits[count++] = PackedHits.hit(leaf.docBase + doc, VectorUtil.dotProduct(query, vectors.vectorValue()));
      }
    }
    return Arrays.copyOf(hits, count);
  }
}
