package bioqa;

import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.LeafReader;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.PostingsEnum;
import org.apache.lucene.index.Terms;
import org.apache.lucene.index.TermsEnum;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.util.Bits;
import org.apache.lucene.util.BytesRef;
import org.apache.lucene.util.FixedBitSet;
import org.apache.lucene.util.StringHelper;

/** What the notices in an index (of retractions, corrections and concerns) say of other articles: terms "KIND ID" of the field notice. */
public final class Notices {
  private static final String FIELD = "notice";

  private Notices() {}

  /** The stored JSON of the notices of these kinds about the articles with these ids, in the order of the index. */
  public static String[] about(IndexSearcher searcher, String[] kinds, String[] ids) throws IOException {
    Set<Integer> found = new TreeSet<>();
    for (LeafReaderContext context : searcher.getIndexReader().leaves()) {
      Terms terms = context.reader().terms(FIELD);
      if (terms == null) {
        continue;
      }
      TermsEnum each = terms.iterator();
      PostingsEnum postings = null;
      for (String id : ids) {
        for (String kind : kinds) {
          if (each.seekExact(new BytesRef(kind + " " + id))) {
            postings = each.postings(postings, PostingsEnum.NONE);
            for (int document = nextLive(postings, context.reader()); document >= 0; document = nextLive(postings, context.reader())) {
              found.add(context.docBase + document);
            }
          }
        }
      }
    }
    return StoredArticles.raw(searcher, found.stream().mapToInt(Integer::intValue).toArray());
  }

  /** A query for the articles that have {@code mark}, or that a notice of one of these kinds is about; for this reader only. */
  public static Query marked(IndexReader reader, String mark, String[] kinds) throws IOException {
    Set<BytesRef> ids = new HashSet<>();
    for (LeafReaderContext context : reader.leaves()) {
      Terms terms = context.reader().terms(FIELD);
      for (String kind : terms == null ? new String[0] : kinds) {
        collect(terms.iterator(), new BytesRef(kind + " "), context.reader(), ids);
      }
    }
    List<BytesRef> sorted = ids.stream().sorted().toList();
    List<LeafReaderContext> leaves = reader.leaves();
    FixedBitSet[] documents = new FixedBitSet[leaves.size()];
    for (LeafReaderContext context : leaves) {
      FixedBitSet bits = documents[context.ord] = new FixedBitSet(context.reader().maxDoc());
      add(context.reader().terms("mark"), List.of(new BytesRef(mark)), bits);
      add(context.reader().terms("id"), sorted, bits);
    }
    return new DocumentSetQuery(reader, documents);
  }

  /** Collects the ids of the terms that begin with {@code kind} and have a document that was not deleted. */
  private static void collect(TermsEnum each, BytesRef kind, LeafReader leaf, Set<BytesRef> ids) throws IOException {
    PostingsEnum postings = null;
    BytesRef term = each.seekCeil(kind) == TermsEnum.SeekStatus.END ? null : each.term();
    for (; term != null && StringHelper.startsWith(term, kind); term = each.next()) {
      postings = each.postings(postings, PostingsEnum.NONE);
      if (nextLive(postings, leaf) >= 0) {
        ids.add(BytesRef.deepCopyOf(new BytesRef(term.bytes, term.offset + kind.length, term.length - kind.length)));
      }
    }
  }

  private static void add(Terms terms, List<BytesRef> values, FixedBitSet bits) throws IOException {
    if (terms == null) {
      return;
    }
    TermsEnum each = terms.iterator();
    PostingsEnum postings = null;
    for (BytesRef value : values) {
      if (each.seekExact(value)) {
        postings = each.postings(postings, PostingsEnum.NONE);
        bits.or(postings);
      }
    }
  }

  /** The next document that was not deleted, -1 if there is none. */
  private static int nextLive(PostingsEnum postings, LeafReader leaf) throws IOException {
    Bits live = leaf.getLiveDocs();
    int document = postings.nextDoc();
    while (document != DocIdSetIterator.NO_MORE_DOCS && live != null && !live.get(document)) {
      document = postings.nextDoc();
    }
    return document == DocIdSetIterator.NO_MORE_DOCS ? -1 : document;
  }
}
