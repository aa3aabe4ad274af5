package bioqa;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.lucene.document.BinaryDocValuesField;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.IntPoint;
import org.apache.lucene.document.NumericDocValuesField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.BinaryDocValues;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexCommit;
import org.apache.lucene.index.IndexDeletionPolicy;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.MultiBits;
import org.apache.lucene.index.MultiTerms;
import org.apache.lucene.index.NumericDocValues;
import org.apache.lucene.index.PostingsEnum;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.index.Terms;
import org.apache.lucene.index.TermsEnum;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.store.Directory;
import org.apache.lucene.util.Bits;
import org.apache.lucene.util.BytesRef;

/**
 * The loops that would cross the border between Python and Java once for every document: adding articles, removing the losers among
 * records of one PMID, and reading the ids of hits. Everything else is driven from Python.
 */
public final class Bulk {
  /** Cells of one article in the array that {@link #add} takes. */
  static final int ID = 0, TITLE = 1, CONTENTS = 2, RAW = 3, VERSION = 4, DATE = 5, FACETS = 6, CELLS = 10;

  /** Names of the exact-match fields, in the order of their cells from FACETS on; values of one article are parted by newlines. */
  static final String[] FACET_FIELDS = {"journal", "mesh", "type", "language"};

  private Bulk() {}

  /** Adds articles, CELLS strings each; {@code order} is the place of the first one in the corpus. */
  public static void add(IndexWriter writer, String[] cells, long order) throws IOException {
    for (int at = 0; at < cells.length; at += CELLS) {
      Document document = new Document();
      document.add(new StringField("id", cells[at + ID], Field.Store.YES));
      document.add(new BinaryDocValuesField("id", new BytesRef(cells[at + ID])));
      document.add(new TextField("title", cells[at + TITLE], Field.Store.NO));
      document.add(new TextField("contents", cells[at + CONTENTS], Field.Store.NO));
      document.add(new StoredField("raw", cells[at + RAW]));
      document.add(new NumericDocValuesField("version", Long.parseLong(cells[at + VERSION])));
      document.add(new NumericDocValuesField("order", order + at / CELLS));
      if (!cells[at + DATE].isEmpty()) {
        document.add(new IntPoint("date", Integer.parseInt(cells[at + DATE])));
      }
      for (int facet = 0; facet < FACET_FIELDS.length; facet++) {
        String values = cells[at + FACETS + facet];
        if (!values.isEmpty()) {
          for (String value : values.split("\n")) {
            document.add(new StringField(FACET_FIELDS[facet], value, Field.Store.NO));
          }
        }
      }
      writer.addDocument(document);
    }
  }

  /**
   * Leaves one document for each id: of the highest version, then of the latest place in the corpus; and none where a deletion came
   * later than that. Looks at {@code ids} alone, or at all where it is null. Returns how many documents were dropped, or -1 where
   * segments were merged away under it (call it again).
   */
  public static int resolve(IndexWriter writer, String[] ids, String[] deletedIds, long[] deletedOrders) throws IOException {
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
        for (int doc : losers(reader, documents(all, live), deleted)) {
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

  private static List<Integer> losers(DirectoryReader reader, List<Integer> documents, Long deleted) throws IOException {
    List<Integer> out = new ArrayList<>();
    int best = -1;
    long bestVersion = 0, bestOrder = 0;
    for (int doc : documents) {
      long order = number(reader, "order", doc);
      long version = number(reader, "version", doc);
      if (deleted != null && order < deleted) {
        out.add(doc);
      } else if (best < 0 || version > bestVersion || (version == bestVersion && order > bestOrder)) {
        if (best >= 0) {
          out.add(best);
        }
        best = doc;
        bestVersion = version;
        bestOrder = order;
      } else {
        out.add(doc);
      }
    }
    return out;
  }

  private static long number(DirectoryReader reader, String field, int doc) throws IOException {
    LeafReaderContext leaf = reader.leaves().get(ReaderUtil.subIndex(doc, reader.leaves()));
    NumericDocValues values = leaf.reader().getNumericDocValues(field);
    return values != null && values.advanceExact(doc - leaf.docBase) ? values.longValue() : 0;
  }

  /**
   * Keeps the last commit and the last complete one: while an index is built anew or updated in steps, readers go on with the
   * complete one, and a killed build goes on from the last.
   */
  public static final class KeepComplete extends IndexDeletionPolicy {
    @Override
    public void onInit(List<? extends IndexCommit> commits) throws IOException {
      onCommit(commits);
    }

    @Override
    public void onCommit(List<? extends IndexCommit> commits) throws IOException {
      IndexCommit last = commits.isEmpty() ? null : commits.get(commits.size() - 1);
      IndexCommit complete = null;
      for (IndexCommit commit : commits) {
        if (isComplete(commit)) {
          complete = commit;
        }
      }
      for (IndexCommit commit : commits) {
        if (commit != last && commit != complete) {
          commit.delete();
        }
      }
    }
  }

  /** Whether a commit is the end of a build or of an update. */
  public static boolean isComplete(IndexCommit commit) throws IOException {
    return "complete".equals(commit.getUserData().get("bioqa.state"));
  }

  /** The latest complete commit, or null; the latest of all where {@code complete} is false. */
  public static IndexCommit latest(Directory directory, boolean complete) throws IOException {
    List<IndexCommit> commits = DirectoryReader.listCommits(directory);
    for (int i = commits.size() - 1; i >= 0; i--) {
      if (!complete || isComplete(commits.get(i))) {
        return commits.get(i);
      }
    }
    return null;
  }

  /** The best k documents: {ids joined by newlines, document numbers, scores}. */
  public static Object[] search(IndexSearcher searcher, Query query, int k) throws IOException {
    ScoreDoc[] hits = searcher.search(query, k).scoreDocs;
    int n = hits.length;
    int[] docs = new int[n];
    float[] scores = new float[n];
    for (int i = 0; i < n; i++) {
      docs[i] = hits[i].doc;
      scores[i] = hits[i].score;
    }
    return new Object[] {String.join("\n", ids(searcher, docs)), docs, scores};
  }

  /** {@link #search} for many bags of words on several threads: one array as of search for each question. */
  public static Object[] searchAll(IndexSearcher searcher, Query[] queries, int k, int threads) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<Future<Object[]>> futures = new ArrayList<>();
      for (Query query : queries) {
        Callable<Object[]> task = () -> search(searcher, query, k);
        futures.add(pool.submit(task));
      }
      Object[] results = new Object[queries.length];
      for (int i = 0; i < results.length; i++) {
        results[i] = futures.get(i).get();
      }
      return results;
    } finally {
      pool.shutdownNow();
    }
  }

  /** Ids of documents from doc values, which are read forwards only. */
  private static String[] ids(IndexSearcher searcher, int[] docs) throws IOException {
    String[] ids = new String[docs.length];
    List<LeafReaderContext> leaves = searcher.getIndexReader().leaves();
    long[] order = IntStream.range(0, docs.length).mapToLong(i -> ((long) docs[i] << 32) | i).toArray();
    Arrays.sort(order);
    LeafReaderContext leaf = null;
    BinaryDocValues values = null;
    for (long one : order) {
      int doc = (int) (one >>> 32);
      if (leaf == null || doc >= leaf.docBase + leaf.reader().maxDoc()) {
        leaf = leaves.get(ReaderUtil.subIndex(doc, leaves));
        values = leaf.reader().getBinaryDocValues("id");
      }
      values.advance(doc - leaf.docBase);
      ids[(int) one] = values.binaryValue().utf8ToString();
    }
    return ids;
  }
}
