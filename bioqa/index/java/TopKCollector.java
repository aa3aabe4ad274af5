package bioqa;

import java.io.IOException;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.search.Collector;
import org.apache.lucene.search.CollectorManager;
import org.apache.lucene.search.LeafCollector;
import org.apache.lucene.search.Scorable;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.util.BytesRef;

/**
 * Collects the k documents with the highest scores; of equal scores those whose ids come first, so that the result does not depend on
 * where documents lie in the index. It keeps up to 2 k hits unsorted and drops the lower half when they are full, which for a large k is
 * faster than a heap.
 */
final class TopKCollector implements Collector {
  private final int k;
  private final List<LeafReaderContext> leaves;
  /** The bits of the lowest score that can still be among the best, of all collectors of one search. */
  private final AtomicInteger least;
  private final long[] kept;
  private int size;

  TopKCollector(int k, List<LeafReaderContext> leaves, AtomicInteger least) {
    this.k = k;
    this.leaves = leaves;
    this.least = least;
    this.kept = new long[2 * k];
  }

  /** Collectors for the slices of one search, whose best hits are those of all of them. */
  static CollectorManager<TopKCollector, long[]> manager(int k, List<LeafReaderContext> leaves) {
    AtomicInteger least = new AtomicInteger();
    return new CollectorManager<>() {
      @Override
      public TopKCollector newCollector() {
        return new TopKCollector(k, leaves, least);
      }

      @Override
      public long[] reduce(Collection<TopKCollector> collectors) throws IOException {
        long[] all = new long[collectors.stream().mapToInt(one -> one.size).sum()];
        int at = 0;
        for (TopKCollector one : collectors) {
          System.arraycopy(one.kept, 0, all, at, one.size);
          at += one.size;
        }
        return best(all, all.length, k, leaves);
      }
    };
  }

  @Override
  public ScoreMode scoreMode() {
    return ScoreMode.TOP_SCORES;
  }

  @Override
  public LeafCollector getLeafCollector(LeafReaderContext context) {
    int base = context.docBase;
    return new LeafCollector() {
      private Scorable scorer;
      private float minimum;

      @Override
      public void setScorer(Scorable scorer) throws IOException {
        this.scorer = scorer;
        minimum = 0;
        raiseMinimum();
      }

      @Override
      public void collect(int doc) throws IOException {
        float score = scorer.score();
        if (score < minimum) {
          return;
        }
        kept[size++] = PackedHits.hit(base + doc, score);
        if (size == kept.length) {
          prune();
          raiseMinimum();
        }
      }

      /** Documents with the lowest score of the best stay competitive: their ids may come first. */
      private void raiseMinimum() throws IOException {
        float lowest = Float.intBitsToFloat(least.get());
        if (lowest > minimum) {
          minimum = lowest;
          scorer.setMinCompetitiveScore(lowest);
        }
      }
    };
  }

  private void prune() throws IOException {
    size = keepBest(kept, size, k, leaves);
    float lowest = Float.MAX_VALUE;
    for (int i = 0; i < size; i++) {
      lowest = Math.min(lowest, PackedHits.score(kept[i]));
    }
    least.accumulateAndGet(Float.floatToIntBits(lowest), Math::max); // the bits of positive numbers sort as they do
  }

  /** The best k of the first n hits, highest scores first, in document order where scores are equal. */
  static long[] best(long[] hits, int n, int k, List<LeafReaderContext> leaves) throws IOException {
    int count = keepBest(hits, n, k, leaves);
    Arrays.sort(hits, 0, count);
    long[] best = new long[count];
    for (int i = 0; i < count; i++) {
      best[i] = hits[count - 1 - i];
    }
    return best;
  }

  /** Moves the best k of the first n hits to the front, in any order; how many there are. */
  private static int keepBest(long[] hits, int n, int k, List<LeafReaderContext> leaves) throws IOException {
    if (n <= k) {
      return n;
    }
    select(hits, n, k);
    long worst = hits[0];
    for (int i = 1; i < k; i++) {
      worst = Math.min(worst, hits[i]);
    }
    int lowest = (int) (worst >>> 32);
    int equal = k;
    for (int i = k; i < n; i++) { // hits left out whose score is that of the worst of the best
      if ((int) (hits[i] >>> 32) == lowest) {
        swap(hits, i, equal++);
      }
    }
    if (equal > k) {
      int above = 0;
      for (int i = 0; i < k; i++) {
        if ((int) (hits[i] >>> 32) != lowest) {
          swap(hits, i, above++);
        }
      }
      firstIds(hits, above, equal, leaves);
    }
    return k;
  }

  /** Sorts hits of one score by id. */
  private static void firstIds(long[] hits, int from, int to, List<LeafReaderContext> leaves) throws IOException {
    long[] tied = Arrays.copyOfRange(hits, from, to);
    BytesRef[] ids = PackedHits.ids(leaves, tied);
    Integer[] order = new Integer[tied.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, (one, other) -> ids[one].compareTo(ids[other]));
    for (int i = 0; i < tied.length; i++) {
      hits[from + i] = tied[order[i]];
    }
  }

  private static void swap(long[] values, int i, int j) {
    long value = values[i];
    values[i] = values[j];
    values[j] = value;
  }

  /** Moves the k largest of the first n values to the front, in any order (Hoare's quickselect). */
  private static void select(long[] values, int n, int k) {
    int low = 0;
    int high = n - 1;
    while (low < high) {
      long pivot = values[low + high >>> 1];
      int i = low;
      int j = high;
      while (i <= j) {
        while (values[i] > pivot) {
          i++;
        }
        while (values[j] < pivot) {
          j--;
        }
        if (i <= j) {
          swap(values, i++, j--);
        }
      }
      if (k - 1 <= j) {
        high = j;
      } else if (k - 1 >= i) {
        low = i;
      } else {
        return;
      }
    }
  }
}
