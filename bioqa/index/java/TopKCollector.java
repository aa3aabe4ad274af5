package bioqa;

import java.io.IOException;
import java.util.Arrays;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.search.Collector;
import org.apache.lucene.search.LeafCollector;
import org.apache.lucene.search.Scorable;
import org.apache.lucene.search.ScoreMode;

/**
 * Collects the k documents with the highest scores; equal scores rank in document order, as with TopScoreDocCollector. It keeps up to
 * 2 k hits unsorted and drops the lower half when they are full, which for a large k is faster than a heap.
 */
final class TopKCollector implements Collector {
  private final int k;
  private final long[] kept;
  private int size;
  private float least;

  TopKCollector(int k) {
    this.k = k;
    this.kept = new long[2 * k];
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
        if (score < least) {
          return;
        }
        kept[size++] = PackedHits.hit(base + doc, score);
        if (size == kept.length) {
          prune();
          raiseMinimum();
        }
      }

      private void raiseMinimum() throws IOException {
        if (least > minimum) {
          minimum = least;
          scorer.setMinCompetitiveScore(least);
        }
      }
    };
  }

  /** Keeps the best k. Documents arrive in order, so a later one must have a higher score than the worst of them. */
  private void prune() {
    select(kept, size, k);
    size = k;
    long worst = kept[0];
    for (int i = 1; i < k; i++) {
      worst = Math.min(worst, kept[i]);
    }
    least = Math.nextUp(PackedHits.score(worst));
  }

  /** The best hits, best first. */
  long[] hits() {
    int n = Math.min(k, size);
    select(kept, size, n);
    Arrays.sort(kept, 0, n);
    long[] hits = new long[n];
    for (int i = 0; i < n; i++) {
      hits[i] = kept[n - 1 - i];
    }
    return hits;
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
          long value = values[i];
          values[i++] = values[j];
          values[j--] = value;
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
