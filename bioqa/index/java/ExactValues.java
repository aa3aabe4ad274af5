package bioqa;

import java.io.IOException;
import java.util.PriorityQueue;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.MultiBits;
import org.apache.lucene.index.MultiTerms;
import org.apache.lucene.index.PostingsEnum;
import org.apache.lucene.index.Term;
import org.apache.lucene.index.Terms;
import org.apache.lucene.index.TermsEnum;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.FuzzyTermsEnum;
import org.apache.lucene.util.Bits;
import org.apache.lucene.util.BytesRef;
import org.apache.lucene.util.StringHelper;

/** The values of the exact-match fields, which are in lower case. */
public final class ExactValues {
  /** A longer value has no typing error that an edit distance would find. */
  private static final int MAX_LENGTH = 100;

  private ExactValues() {}

  private record Count(BytesRef value, int articles) implements Comparable<Count> {
    @Override
    public int compareTo(Count other) {
      return articles != other.articles ? Integer.compare(articles, other.articles) : other.value.compareTo(value);
    }
  }

  /** The {@code top} values that begin with the prefix and that most articles have: value, count, value, count, and so on. */
  public static String[] list(IndexReader reader, String field, String prefix, int top) throws IOException {
    PriorityQueue<Count> best = new PriorityQueue<>();
    Terms terms = MultiTerms.getTerms(reader, field);
    BytesRef start = new BytesRef(prefix);
    TermsEnum each = terms == null ? TermsEnum.EMPTY : terms.iterator();
    Bits live = MultiBits.getLiveDocs(reader);
    PostingsEnum postings = null;
    boolean more = each.seekCeil(start) != TermsEnum.SeekStatus.END;
    for (; more && StringHelper.startsWith(each.term(), start); more = each.next() != null) {
      int articles = each.docFreq();
      if (live != null) {
        postings = each.postings(postings, PostingsEnum.NONE);
        articles = 0;
        for (int doc = postings.nextDoc(); doc != DocIdSetIterator.NO_MORE_DOCS; doc = postings.nextDoc()) {
          articles += live.get(doc) ? 1 : 0;
        }
      }
      if (articles > 0) {
        best.add(new Count(BytesRef.deepCopyOf(each.term()), articles));
        if (best.size() > top) {
          best.remove();
        }
      }
    }
    String[] found = new String[2 * best.size()];
    for (int at = found.length - 2; at >= 0; at -= 2) {
      Count one = best.remove();
      found[at] = one.value.utf8ToString();
      found[at + 1] = Integer.toString(one.articles);
    }
    return found;
  }

  /**
   * The value nearest to one that no article has, "" if there is none: by edit distance, at most 1 for up to five characters and 2 for
   * longer ones, otherwise one that begins with it. Of several, the one that most articles have.
   */
  public static String nearest(IndexReader reader, String field, String value) throws IOException {
    Terms terms = MultiTerms.getTerms(reader, field);
    if (terms == null) {
      return "";
    }
    int length = value.codePointCount(0, value.length());
    int edits = length < 3 || length > MAX_LENGTH ? 0 : length < 6 ? 1 : 2;
    for (int distance = 1; distance <= edits; distance++) {
      TermsEnum similar = new FuzzyTermsEnum(terms, new Term(field, value), distance, 0, true);
      String found = mostFrequent(similar, similar.next(), new BytesRef());
      if (!found.isEmpty()) {
        return found;
      }
    }
    TermsEnum each = terms.iterator();
    BytesRef start = new BytesRef(value);
    return mostFrequent(each, each.seekCeil(start) == TermsEnum.SeekStatus.END ? null : each.term(), start);
  }

  /** The most frequent of the terms from {@code term} on while they begin with {@code start}; "" if there is none. */
  private static String mostFrequent(TermsEnum each, BytesRef term, BytesRef start) throws IOException {
    String found = "";
    int most = 0;
    for (; term != null && StringHelper.startsWith(term, start); term = each.next()) {
      if (each.docFreq() > most) {
        most = each.docFreq();
        found = term.utf8ToString();
      }
    }
    return found;
  }
}
