package bioqa;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import org.apache.lucene.index.DocValues;
import org.apache.lucene.index.LeafReader;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.NumericDocValues;
import org.apache.lucene.index.SortedDocValues;
import org.apache.lucene.index.SortedSetDocValues;
import org.apache.lucene.search.CollectorManager;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.search.SimpleCollector;
import org.apache.lucene.util.BytesRef;
import org.apache.lucene.util.FixedBitSet;

/** Counts the values of all matching articles from doc values. */
public final class FacetCounter {
  private static final int YEARS = 10_000;
  /** With fewer matches than this share of the values, ordinals are sorted rather than counted in an array of all values. */
  private static final int SPARSE = 16;

  private FacetCounter() {}

  /** The matching documents of one segment. */
  private record Matches(LeafReaderContext leaf, FixedBitSet documents, int count) {}

  /** The values that occur in one segment, by ordinal in ascending order, and in how many documents each does. */
  private record Counts(SortedSetDocValues values, int[] ordinals, int[] counts) {
    int of(BytesRef value) throws IOException {
      long ordinal = values.lookupTerm(value);
      int at = ordinal < 0 ? -1 : Arrays.binarySearch(ordinals, (int) ordinal);
      return at < 0 ? 0 : counts[at];
    }
  }

  /** A value and its count. Ordered from the last in a list of counts to the first: low counts first, then values from Z to A. */
  private record Count(BytesRef value, int count) implements Comparable<Count> {
    @Override
    public int compareTo(Count other) {
      return count != other.count ? Integer.compare(count, other.count) : other.value.compareTo(value);
    }
  }

  /**
   * For each field the {@code top} values with the highest counts, equal counts by value: value, count, value, count, and so on. For
   * "year" these are all years, in their order. Several threads count several fields at a time.
   */
  public static String[][] count(IndexSearcher searcher, Query query, String[] fields, int top, int threads) throws Exception {
    List<Matches> matches = matches(searcher, query);
    List<Callable<String[]>> tasks = new ArrayList<>();
    for (String field : fields) {
      tasks.add(() -> "year".equals(field) ? years(matches) : packed(top(counts(matches, "facet." + field, ""), top)));
    }
    String[][] found = new String[fields.length][];
    ExecutorService pool = Searcher.pool(Math.max(1, Math.min(threads, fields.length)));
    try {
      List<Future<String[]>> futures = pool.invokeAll(tasks);
      for (int i = 0; i < found.length; i++) {
        found[i] = futures.get(i).get();
      }
    } finally {
      pool.shutdownNow();
    }
    return found;
  }

  /** What {@link #count} returns for one field and the values that begin with a prefix in lower case, ignoring their case. */
  public static String[] values(IndexSearcher searcher, Query query, String field, String prefix, int top) throws IOException {
    return packed(top(counts(matches(searcher, query), "facet." + field, prefix), top));
  }

  private static List<Matches> matches(IndexSearcher searcher, Query query) throws IOException {
    return searcher.search(
        query,
        new CollectorManager<MatchCollector, List<Matches>>() {
          @Override
          public MatchCollector newCollector() {
            return new MatchCollector();
          }

          @Override
          public List<Matches> reduce(Collection<MatchCollector> collectors) {
            List<Matches> all = new ArrayList<>();
            for (MatchCollector one : collectors) {
              all.addAll(one.found());
            }
            return all;
          }
        });
  }

  private static final class MatchCollector extends SimpleCollector {
    private final List<Matches> finished = new ArrayList<>();
    private LeafReaderContext leaf;
    private FixedBitSet documents;
    private int count;

    @Override
    protected void doSetNextReader(LeafReaderContext context) {
      found();
      leaf = context;
      documents = new FixedBitSet(context.reader().maxDoc());
      count = 0;
    }

    @Override
    public void collect(int document) {
      documents.set(document);
      count++;
    }

    @Override
    public ScoreMode scoreMode() {
      return ScoreMode.COMPLETE_NO_SCORES;
    }

    List<Matches> found() {
      if (leaf != null && count > 0) {
        finished.add(new Matches(leaf, documents, count));
      }
      leaf = null;
      return finished;
    }
  }

  private static String[] years(List<Matches> matches) throws IOException {
    int[] counts = new int[YEARS];
    for (Matches one : matches) {
      NumericDocValues dates = DocValues.getNumeric(one.leaf.reader(), "date");
      FixedBitSet documents = one.documents;
      for (int doc = next(documents, 0); doc != DocIdSetIterator.NO_MORE_DOCS; doc = next(documents, doc + 1)) {
        if (dates.advanceExact(doc)) {
          counts[(int) (dates.longValue() / 10_000)]++;
        }
      }
    }
    List<String> found = new ArrayList<>();
    for (int year = 0; year < YEARS; year++) {
      if (counts[year] > 0) {
        found.add("%04d".formatted(year));
        found.add(Integer.toString(counts[year]));
      }
    }
    return found.toArray(String[]::new);
  }

  private static int next(FixedBitSet documents, int from) {
    return from < documents.length() ? documents.nextSetBit(from) : DocIdSetIterator.NO_MORE_DOCS;
  }

  private static List<Counts> counts(List<Matches> matches, String field, String prefix) throws IOException {
    List<Counts> all = new ArrayList<>();
    for (Matches one : matches) {
      Counts counts = counts(one, field);
      if (!prefix.isEmpty()) {
        counts = beginning(counts, prefix);
      }
      if (counts.ordinals.length > 0) {
        all.add(counts);
      }
    }
    return all;
  }

  private static Counts counts(Matches matches, String field) throws IOException {
    LeafReader reader = matches.leaf.reader();
    SortedSetDocValues values = DocValues.getSortedSet(reader, field);
    int size = Math.toIntExact(values.getValueCount());
    return matches.count < size / SPARSE ? sorted(matches, values) : counted(matches, values, size);
  }

  private static Counts counted(Matches matches, SortedSetDocValues values, int size) throws IOException {
    int[] all = new int[size];
    FixedBitSet documents = matches.documents;
    SortedDocValues single = DocValues.unwrapSingleton(values);
    for (int doc = next(documents, 0); doc != DocIdSetIterator.NO_MORE_DOCS; doc = next(documents, doc + 1)) {
      if (single != null) {
        if (single.advanceExact(doc)) {
          all[single.ordValue()]++;
        }
      } else if (values.advanceExact(doc)) {
        for (int left = values.docValueCount(); left > 0; left--) {
          all[(int) values.nextOrd()]++;
        }
      }
    }
    int found = 0;
    for (int count : all) {
      found += count > 0 ? 1 : 0;
    }
    int[] ordinals = new int[found];
    int[] counts = new int[found];
    for (int ordinal = 0, at = 0; ordinal < size; ordinal++) {
      if (all[ordinal] > 0) {
        ordinals[at] = ordinal;
        counts[at++] = all[ordinal];
      }
    }
    return new Counts(values, ordinals, counts);
  }

  private static Counts sorted(Matches matches, SortedSetDocValues values) throws IOException {
    int[] all = new int[matches.count];
    int size = 0;
    FixedBitSet documents = matches.documents;
    for (int doc = next(documents, 0); doc != DocIdSetIterator.NO_MORE_DOCS; doc = next(documents, doc + 1)) {
      if (values.advanceExact(doc)) {
        int count = values.docValueCount();
        if (size + count > all.length) {
          all = Arrays.copyOf(all, Math.max(size + count, 2 * all.length));
        }
        for (; count > 0; count--) {
          all[size++] = (int) values.nextOrd();
        }
      }
    }
    Arrays.sort(all, 0, size);
    int[] ordinals = new int[size];
    int[] counts = new int[size];
    int found = 0;
    for (int at = 0; at < size; at++) {
      if (at == 0 || all[at] != all[at - 1]) {
        ordinals[found++] = all[at];
      }
      counts[found - 1]++;
    }
    return new Counts(values, Arrays.copyOf(ordinals, found), Arrays.copyOf(counts, found));
  }

  /** The counts of the values that begin with the prefix. */
  private static Counts beginning(Counts all, String prefix) throws IOException {
    int[] ordinals = new int[all.ordinals.length];
    int[] counts = new int[ordinals.length];
    int found = 0;
    for (int at = 0; at < ordinals.length; at++) {
      if (all.values.lookupOrd(all.ordinals[at]).utf8ToString().toLowerCase(Locale.ROOT).startsWith(prefix)) {
        ordinals[found] = all.ordinals[at];
        counts[found++] = all.counts[at];
      }
    }
    return new Counts(all.values, Arrays.copyOf(ordinals, found), Arrays.copyOf(counts, found));
  }

  /**
   * The values with the highest counts over all segments, without a merge of all values. The best of each segment have together some
   * lowest count; a value with that count has in some segment at least its share of it, so that no other value can be among the best.
   */
  private static List<Count> top(List<Counts> segments, int top) throws IOException {
    if (segments.size() == 1) {
      return best(segments.get(0), top);
    }
    Set<BytesRef> leading = new HashSet<>();
    for (Counts one : segments) {
      best(one, top).forEach(count -> leading.add(count.value));
    }
    List<Count> first = best(totals(segments, leading), top);
    int lowest = first.size() < top ? 0 : first.get(first.size() - 1).count;
    int share = (lowest + segments.size() - 1) / Math.max(1, segments.size());
    if (share <= 1) {
      Map<BytesRef, Integer> totals = new HashMap<>();
      for (Counts one : segments) {
        for (int at = 0; at < one.ordinals.length; at++) {
          totals.merge(BytesRef.deepCopyOf(one.values.lookupOrd(one.ordinals[at])), one.counts[at], Integer::sum);
        }
      }
      return best(totals, top);
    }
    for (Counts one : segments) {
      for (int at = 0; at < one.ordinals.length; at++) {
        if (one.counts[at] >= share) {
          leading.add(BytesRef.deepCopyOf(one.values.lookupOrd(one.ordinals[at])));
        }
      }
    }
    return best(totals(segments, leading), top);
  }

  private static Map<BytesRef, Integer> totals(List<Counts> segments, Set<BytesRef> values) throws IOException {
    BytesRef[] ordered = values.toArray(BytesRef[]::new);
    Arrays.sort(ordered);
    Map<BytesRef, Integer> totals = new HashMap<>();
    for (Counts one : segments) {
      for (BytesRef value : ordered) {
        totals.merge(value, one.of(value), Integer::sum);
      }
    }
    return totals;
  }

  private static List<Count> best(Counts all, int top) throws IOException {
    PriorityQueue<Long> best = new PriorityQueue<>(); // count, then the complement of the ordinal: ordinals are in the order of values
    for (int at = 0; at < all.ordinals.length; at++) {
      long one = (long) all.counts[at] << 32 | ~all.ordinals[at] & 0xFFFFFFFFL;
      if (best.size() < top) {
        best.add(one);
      } else if (one > best.peek()) {
        best.remove();
        best.add(one);
      }
    }
    Count[] found = new Count[best.size()];
    for (int at = found.length - 1; at >= 0; at--) {
      long one = best.remove();
      found[at] = new Count(BytesRef.deepCopyOf(all.values.lookupOrd(~(int) one)), (int) (one >>> 32));
    }
    return List.of(found);
  }

  private static List<Count> best(Map<BytesRef, Integer> totals, int top) {
    PriorityQueue<Count> best = new PriorityQueue<>();
    totals.forEach(
        (value, count) -> {
          Count one = new Count(value, count);
          if (best.size() < top) {
            best.add(one);
          } else if (one.compareTo(best.peek()) > 0) {
            best.remove();
            best.add(one);
          }
        });
    Count[] found = new Count[best.size()];
    for (int at = found.length - 1; at >= 0; at--) {
      found[at] = best.remove();
    }
    return List.of(found);
  }

  private static String[] packed(List<Count> counts) {
    String[] found = new String[2 * counts.size()];
    for (int i = 0; i < counts.size(); i++) {
      found[2 * i] = counts.get(i).value.utf8ToString();
      found[2 * i + 1] = Integer.toString(counts.get(i).count);
    }
    return found;
  }
}
