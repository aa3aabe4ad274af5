package bioqa;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.MergePolicy;
import org.apache.lucene.index.MultiBits;
import org.apache.lucene.index.MultiTerms;
import org.apache.lucene.index.NoMergePolicy;
import org.apache.lucene.index.NumericDocValues;
import org.apache.lucene.index.PostingsEnum;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.index.Terms;
import org.apache.lucene.index.TermsEnum;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.util.Bits;
import org.apache.lucene.util.BytesRef;

/** Deletes all but the latest of the documents that share an id. */
public final class Deduplicator {
  private Deduplicator() {}

  /**
   * Keeps one document per id: the one with the highest version, and of equal versions the last in the corpus; none if the id was
   * deleted later in the corpus. Checks only {@code ids}, or every id if that is null. No segments are merged meanwhile. Returns the
   * number of documents deleted.
   */
  public static int keepLatest(IndexWriter writer, String[] ids, String[] deletedIds, long[] deletedOrders) throws IOException {
    MergePolicy usual = writer.getConfig().getMergePolicy();
    writer.getConfig().setMergePolicy(NoMergePolicy.INSTANCE);
    try {
      while (true) {
        int dropped = dropOutdated(writer, ids, deletedIds, deletedOrders);
        if (dropped >= 0) {
          return dropped;
        }
      }
    } finally {
      writer.getConfig().setMergePolicy(usual);
    }
  }

  /** The number of documents deleted, or -1 if a merge that was already running has replaced segments. */
  private static int dropOutdated(IndexWriter writer, String[] ids, String[] deletedIds, long[] deletedOrders) throws IOException {
    Map<BytesRef, Long> deletions = new HashMap<>();
    for (int i = 0; i < deletedIds.length; i++) {
      deletions.merge(new BytesRef(deletedIds[i]), deletedOrders[i], Math::max);
    }
    int dropped = 0;
    try (DirectoryReader reader = DirectoryReader.open(writer)) {
      Terms terms = MultiTerms.getTerms(reader, "id");
      if (terms == null) {
        return 0;
      }
      Bits live = MultiBits.getLiveDocs(reader);
      TermsEnum all = terms.iterator();
      Iterator<BytesRef> wanted = ids == null ? null : new TreeSet<>(Arrays.stream(ids).map(BytesRef::new).toList()).iterator();
      while (wanted == null ? all.next() != null : wanted.hasNext()) {
        if (wanted != null && !all.seekExact(wanted.next())) {
          continue;
        }
        Long deleted = deletions.get(all.term());
        if (all.docFreq() < 2 && deleted == null) {
          continue;
        }
        for (int doc : outdated(reader, documents(all, live), deleted)) {
          if (writer.tryDeleteDocument(reader, doc) == -1) {
            return -1;
          }
          dropped++;
        }
      }
    }
    return dropped;
  }

  private static List<Integer> documents(TermsEnum term, Bits live) throws IOException {
    List<Integer> documents = new ArrayList<>();
    PostingsEnum postings = term.postings(null, PostingsEnum.NONE);
    for (int doc = postings.nextDoc(); doc != DocIdSetIterator.NO_MORE_DOCS; doc = postings.nextDoc()) {
      if (live == null || live.get(doc)) {
        documents.add(doc);
      }
    }
    return documents;
  }

  private static List<Integer> outdated(DirectoryReader reader, List<Integer> documents, Long deleted) throws IOException {
    List<Integer> outdated = new ArrayList<>();
    int latest = -1;
    long latestVersion = 0, latestOrder = 0;
    for (int doc : documents) {
      long order = number(reader, "order", doc);
      long version = number(reader, "version", doc);
      if (deleted != null && order < deleted) {
        outdated.add(doc);
      } else if (latest < 0 || version > latestVersion || (version == latestVersion && order > latestOrder)) {
        if (latest >= 0) {
          outdated.add(latest);
        }
        latest = doc;
        latestVersion = version;
        latestOrder = order;
      } else {
        outdated.add(doc);
      }
    }
    return outdated;
  }

  private static long number(DirectoryReader reader, String field, int doc) throws IOException {
    LeafReaderContext leaf = reader.leaves().get(ReaderUtil.subIndex(doc, reader.leaves()));
    NumericDocValues values = leaf.reader().getNumericDocValues(field);
    return values != null && values.advanceExact(doc - leaf.docBase) ? values.longValue() : 0;
  }
}
