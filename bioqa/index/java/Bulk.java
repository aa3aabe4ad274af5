package bioqa;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.LowerCaseFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.core.KeywordAnalyzer;
import org.apache.lucene.analysis.core.KeywordTokenizer;
import org.apache.lucene.analysis.miscellaneous.PerFieldAnalyzerWrapper;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
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
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.MultiBits;
import org.apache.lucene.index.MultiTerms;
import org.apache.lucene.index.NumericDocValues;
import org.apache.lucene.index.PostingsEnum;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.index.Term;
import org.apache.lucene.index.Terms;
import org.apache.lucene.index.TermsEnum;
import org.apache.lucene.queryparser.classic.MultiFieldQueryParser;
import org.apache.lucene.queryparser.classic.ParseException;
import org.apache.lucene.queryparser.classic.Token;
import org.apache.lucene.queryparser.classic.TokenMgrError;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.Collector;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.LeafCollector;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.Scorable;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.TopScoreDocCollector;
import org.apache.lucene.store.Directory;
import org.apache.lucene.util.Bits;
import org.apache.lucene.util.BytesRef;

/**
 * The loops that would cross the border between Python and Java once for every document: adding articles, removing the losers among
 * records of one PMID, reading the ids of hits, weighing feedback terms; and the query parser, which only a subclass in Java can change.
 * Everything else is driven from Python.
 */
public final class Bulk {
  /** Cells of one article in the array that {@link #add} takes. */
  static final int ID = 0, TITLE = 1, CONTENTS = 2, RAW = 3, VERSION = 4, DATE = 5, FACETS = 6, CELLS = 10;

  /** Names of the exact-match fields, in the order of their cells from FACETS on; values of one article are parted by newlines. */
  static final String[] FACET_FIELDS = {"journal", "mesh", "type", "language"};

  /** Lucene's own limit of 1,024 is below what a question of 1,000 words comes to with hyphens, or a second field. */
  static final int MAX_CLAUSES = 1 << 16;

  /** A term in more than this share of documents is no feedback term. */
  static final float MAX_SHARE = 0.1f;

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
      if (cells[at + DATE].isEmpty()) {
        document.add(new StringField("lacks", "date", Field.Store.NO));
      } else {
        document.add(new IntPoint("date", Integer.parseInt(cells[at + DATE])));
      }
      for (int facet = 0; facet < FACET_FIELDS.length; facet++) {
        String values = cells[at + FACETS + facet];
        if (values.isEmpty()) {
          document.add(new StringField("lacks", FACET_FIELDS[facet], Field.Store.NO));
        } else {
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

  /**
   * The best k documents, best first, packed for {@code reader.py}: how many, their numbers and their scores, all of 32 bits in the
   * machine's byte order, then their ids as UTF-8, each with a newline after it. An array of bytes costs Python one object.
   */
  public static byte[] search(IndexSearcher searcher, Query query, int k) throws IOException {
    return pack(searcher, best(searcher, query, k));
  }

  /** Lucene's own search counts hits up to 1,000 before it skips documents that cannot be among the best; nobody asks for the count. */
  private static long[] best(IndexSearcher searcher, Query query, int k) throws IOException {
    int most = Math.max(1, Math.min(k, searcher.getIndexReader().maxDoc()));
    if (searcher.getSlices().length > 1) {
      ScoreDoc[] hits = searcher.search(query, TopScoreDocCollector.createSharedManager(most, null, most)).scoreDocs;
      return Arrays.stream(hits).mapToLong(hit -> hit(hit.doc, hit.score)).toArray();
    }
    Best best = new Best(most);
    searcher.search(query, best);
    return best.hits();
  }

  /** Document and score in one number, the best the greatest: the score's bits, which order as positive scores do, over -1 - document. */
  private static long hit(int doc, float score) {
    return (long) Float.floatToIntBits(score) << 32 | ~doc & 0xFFFFFFFFL;
  }

  private static int doc(long hit) {
    return ~(int) hit;
  }

  private static float score(long hit) {
    return Float.intBitsToFloat((int) (hit >>> 32));
  }

  /**
   * Collects the k documents of the highest scores, of equal ones those that come first, as TopScoreDocCollector does; but it keeps up
   * to 2 k in no order and drops the worse half when they are full, which for a large k takes less than a heap.
   */
  private static final class Best implements Collector {
    private final int k;
    private final long[] kept;
    private int size;
    private float least;

    Best(int k) {
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
        private float told;

        @Override
        public void setScorer(Scorable scorer) throws IOException {
          this.scorer = scorer;
          told = 0;
          tell();
        }

        @Override
        public void collect(int doc) throws IOException {
          float score = scorer.score();
          if (score < least) {
            return;
          }
          kept[size++] = hit(base + doc, score);
          if (size == kept.length) {
            prune();
            tell();
          }
        }

        private void tell() throws IOException {
          if (least > told) {
            told = least;
            scorer.setMinCompetitiveScore(least);
          }
        }
      };
    }

    /** Leaves the best k. Documents come in order, so that a later one must beat the worst of them. */
    private void prune() {
      select(kept, size, k);
      size = k;
      long worst = kept[0];
      for (int i = 1; i < k; i++) {
        worst = Math.min(worst, kept[i]);
      }
      least = Math.nextUp(score(worst));
    }

    /** The best, best first. */
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

  /**
   * A searcher that spreads one query over its segments on so many threads, where there are segments enough for more than one; else
   * one that works in the caller's thread. The threads are daemons: they end with the process, or with {@code pool.shutdown()}.
   */
  public static IndexSearcher searcher(IndexReader reader, ExecutorService pool) {
    IndexSearcher.setMaxClauseCount(MAX_CLAUSES);
    IndexSearcher parallel = pool == null ? null : new IndexSearcher(reader, pool);
    return parallel != null && parallel.getSlices().length > 1 ? parallel : new IndexSearcher(reader);
  }

  /** Threads for {@link #searcher}. */
  public static ExecutorService pool(int threads) {
    return Executors.newFixedThreadPool(
        threads,
        task -> {
          Thread thread = new Thread(task, "bioqa-search");
          thread.setDaemon(true);
          return thread;
        });
  }

  /** {@link #search} for many queries on several threads: one array as of search for each. */
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

  private static byte[] pack(IndexSearcher searcher, long[] hits) throws IOException {
    BytesRef[] ids = ids(searcher, hits);
    int length = Integer.BYTES;
    for (BytesRef id : ids) {
      length += Integer.BYTES + Float.BYTES + id.length + 1;
    }
    ByteBuffer packed = ByteBuffer.allocate(length).order(ByteOrder.nativeOrder());
    packed.putInt(hits.length);
    for (long hit : hits) {
      packed.putInt(doc(hit));
    }
    for (long hit : hits) {
      packed.putFloat(score(hit));
    }
    for (BytesRef id : ids) {
      packed.put(id.bytes, id.offset, id.length).put((byte) '\n');
    }
    return packed.array();
  }

  /** Ids of documents from doc values, which are read forwards only. */
  private static BytesRef[] ids(IndexSearcher searcher, long[] hits) throws IOException {
    BytesRef[] ids = new BytesRef[hits.length];
    List<LeafReaderContext> leaves = searcher.getIndexReader().leaves();
    long[] order = IntStream.range(0, hits.length).mapToLong(rank -> (long) doc(hits[rank]) << 32 | rank).toArray();
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
      ids[(int) one] = BytesRef.deepCopyOf(values.binaryValue());
    }
    return ids;
  }

  /**
   * RM3 (Abdul-Jaleel et al. 2004) as Anserini's Rm3Reranker does it: the question's words, and those that stand out in the documents
   * found for it, weighted together. {@code texts} and {@code scores} are those documents, analyzed anew. Terms in over a tenth of all
   * documents, and of other than 2 to 20 plain letters and digits, are not added.
   */
  public static Query expand(
      IndexReader reader, Analyzer analyzer, String field, String question, String[] texts, float[] scores, int terms, float weight)
      throws IOException {
    Map<String, Float> found = new HashMap<>();
    for (int i = 0; i < texts.length; i++) {
      Map<String, Float> counts = new HashMap<>();
      for (Map.Entry<String, Float> entry : counts(analyzer, texts[i]).entrySet()) {
        String term = entry.getKey();
        float share = (float) reader.docFreq(new Term(field, term)) / reader.numDocs();
        if (share <= MAX_SHARE && term.matches("[a-z0-9]{2,20}")) {
          counts.put(term, entry.getValue());
        }
      }
      for (Map.Entry<String, Float> entry : strongest(counts, terms).entrySet()) {
        found.merge(entry.getKey(), entry.getValue() * scores[i], Float::sum);
      }
    }
    Map<String, Float> asked = strongest(counts(analyzer, question), Integer.MAX_VALUE);
    Map<String, Float> mixed = new TreeMap<>();
    asked.forEach((term, share) -> mixed.merge(term, weight * share, Float::sum));
    strongest(found, terms).forEach((term, share) -> mixed.merge(term, (1 - weight) * share, Float::sum));
    BooleanQuery.Builder query = new BooleanQuery.Builder();
    mixed.forEach((term, share) -> query.add(new BoostQuery(new TermQuery(new Term(field, term)), share), BooleanClause.Occur.SHOULD));
    return query.build();
  }

  private static Map<String, Float> counts(Analyzer analyzer, String text) throws IOException {
    Map<String, Float> counts = new HashMap<>();
    try (TokenStream tokens = analyzer.tokenStream(null, text)) {
      CharTermAttribute term = tokens.addAttribute(CharTermAttribute.class);
      tokens.reset();
      while (tokens.incrementToken()) {
        counts.merge(term.toString(), 1f, Float::sum);
      }
      tokens.end();
    }
    return counts;
  }

  /** The terms of highest weight, as many as asked for, equal ones by the alphabet; their weights divided by the sum of them. */
  private static Map<String, Float> strongest(Map<String, Float> weights, int terms) {
    List<Map.Entry<String, Float>> order = new ArrayList<>(weights.entrySet());
    order.sort(Map.Entry.<String, Float>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()));
    List<Map.Entry<String, Float>> kept = order.subList(0, Math.min(terms, order.size()));
    double sum = kept.stream().mapToDouble(Map.Entry::getValue).sum();
    Map<String, Float> shares = new HashMap<>();
    kept.forEach(entry -> shares.put(entry.getKey(), (float) (entry.getValue() / sum)));
    return shares;
  }

  /** Analyzes fields of exact values: the whole value in lower case is the one token. */
  private static final class WholeValue extends Analyzer {
    @Override
    protected TokenStreamComponents createComponents(String field) {
      Tokenizer source = new KeywordTokenizer(1024);
      return new TokenStreamComponents(source, new LowerCaseFilter(source));
    }

    @Override
    protected TokenStream normalize(String field, TokenStream in) {
      return new LowerCaseFilter(in);
    }
  }

  /**
   * A query in Lucene's syntax over {@code contents}, and over {@code title} too where its weight is above 0. Throws an
   * IllegalArgumentException whose message is "POSITION REASON" where it is broken; the position counts characters from 0.
   */
  public static Query parse(String text, Analyzer analyzer, float titleWeight) {
    Map<String, Analyzer> analyzers = new HashMap<>();
    for (String field : FACET_FIELDS) {
      analyzers.put(field, new WholeValue());
    }
    analyzers.put("lacks", new WholeValue());
    analyzers.put("id", new KeywordAnalyzer());
    Parser parser = new Parser(text, new PerFieldAnalyzerWrapper(analyzer, analyzers), titleWeight);
    try {
      Query query = parser.parse(text);
      if (query instanceof BooleanQuery all && !all.clauses().isEmpty() && all.clauses().stream().allMatch(BooleanClause::isProhibited)) {
        throw new Fault(0, "it only says what not to find");
      }
      return query;
    } catch (ParseException problem) {
      throw new IllegalArgumentException(parser.explain(problem));
    } catch (StackOverflowError problem) {
      throw new IllegalArgumentException("0 its brackets are nested too deeply");
    } catch (RuntimeException problem) { // of a regular expression, which has a parser of its own
      throw new IllegalArgumentException(parser.place(text.indexOf('/')) + " " + problem.getMessage());
    }
  }

  /** Lucene's classic parser, with date ranges, and with an error for fields that there are not. */
  private static final class Parser extends MultiFieldQueryParser {
    private static final Pattern COLUMN = Pattern.compile("column (\\d+)");
    private static final List<String> FIELDS =
        List.of("contents", "title", "id", "date", "journal", "mesh", "type", "language", "lacks");
    private final String text;

    Parser(String text, Analyzer analyzer, float titleWeight) {
      super(
          titleWeight > 0 ? new String[] {"contents", "title"} : new String[] {"contents"},
          analyzer,
          titleWeight > 0 ? Map.of("contents", 1f, "title", titleWeight) : Map.of("contents", 1f));
      this.text = text;
    }

    /** An offset in the text as UTF-16, in characters. */
    int place(int offset) {
      return text.codePointCount(0, Math.max(0, Math.min(offset, text.length())));
    }

    /** "POSITION REASON" of what parse threw: a Fault of ours, or what Lucene's grammar or tokenizer found. */
    String explain(ParseException problem) {
      Throwable cause = problem.getCause() == null ? problem : problem.getCause();
      if (cause instanceof Fault fault) {
        return place(fault.offset) + " " + fault.getMessage();
      }
      if (cause instanceof ParseException grammar && grammar.currentToken != null) {
        Token next = grammar.currentToken.next;
        String reason = next.kind == 0 ? "it ends where a word, a phrase or a bracket should follow" : "unexpected " + next.image;
        return place(next.kind == 0 ? text.length() : next.beginColumn) + " " + reason;
      }
      String message = String.valueOf(cause.getMessage());
      Matcher column = COLUMN.matcher(message);
      if (cause instanceof TokenMgrError && column.find()) {
        int quote = unclosed();
        if (quote >= 0) {
          return place(quote) + " a quotation mark that is not closed";
        }
        int end = Integer.parseInt(column.group(1)); // past the character that could not be read, or at the end
        return message.contains("<EOF>") ? place(end) + " it ends too early" : place(end - 1) + " it cannot be read here";
      }
      return place(0) + " " + cause.getMessage();
    }

    private int unclosed() {
      int open = -1;
      for (int i = 0; i < text.length(); i++) {
        if (text.charAt(i) == '\\') {
          i++;
        } else if (text.charAt(i) == '"') {
          open = open < 0 ? i : -1;
        }
      }
      return open;
    }

    private void check(String field) throws Fault {
      if (field != null && !FIELDS.contains(field)) {
        throw new Fault(text.indexOf(field + ":"), "there is no field " + field + "; the fields are " + String.join(", ", FIELDS));
      }
    }

    @Override
    protected Query getFieldQuery(String field, String value, boolean quoted) throws ParseException {
      check(field);
      return "date".equals(field) ? dates(value, value, true, true) : super.getFieldQuery(field, value, quoted);
    }

    @Override
    protected Query getFieldQuery(String field, String value, int slop) throws ParseException {
      check(field);
      return "date".equals(field) ? dates(value, value, true, true) : super.getFieldQuery(field, value, slop);
    }

    @Override
    protected Query getRangeQuery(String field, String from, String to, boolean fromIn, boolean toIn) throws ParseException {
      check(field);
      return "date".equals(field) ? dates(from, to, fromIn, toIn) : super.getRangeQuery(field, from, to, fromIn, toIn);
    }

    @Override
    protected Query getPrefixQuery(String field, String value) throws ParseException {
      check(field);
      return super.getPrefixQuery(field, value.toLowerCase(Locale.ROOT));
    }

    @Override
    protected Query getWildcardQuery(String field, String value) throws ParseException {
      check(field);
      if (value.startsWith("?") || (value.startsWith("*") && value.length() > 1)) {
        throw new Fault(text.indexOf(value), "a word cannot begin with * or ?");
      }
      return super.getWildcardQuery(field, value.toLowerCase(Locale.ROOT));
    }

    @Override
    protected Query getFuzzyQuery(String field, String value, float similarity) throws ParseException {
      check(field);
      if (similarity > 2 || (similarity > 1 && similarity != (int) similarity)) {
        throw new Fault(text.indexOf(value + "~"), "at most 2 letters may differ: ~1 or ~2");
      }
      return super.getFuzzyQuery(field, value.toLowerCase(Locale.ROOT), similarity);
    }

    @Override
    protected Query getRegexpQuery(String field, String value) throws ParseException {
      check(field);
      return super.getRegexpQuery(field, value);
    }

    /** Publication dates between two of YYYY, YYYY-MM, YYYY-MM-DD or YYYYMMDD; null for no bound. */
    private Query dates(String from, String to, boolean fromIn, boolean toIn) throws Fault {
      int low = from == null ? 0 : fromIn ? day(from, "0000") : day(from, "9999") + 1;
      int high = to == null ? Integer.MAX_VALUE : toIn ? day(to, "9999") : day(to, "0000") - 1;
      return IntPoint.newRangeQuery("date", low, high);
    }

    private int day(String date, String rest) throws Fault {
      String digits = date.replace("-", "");
      if (!date.matches("\\d{4}(-\\d\\d){0,2}|\\d{8}")) {
        throw new Fault(text.indexOf(date, Math.max(0, text.indexOf("date:"))), date + " is not a date: YYYY, YYYY-MM or YYYY-MM-DD");
      }
      return Integer.parseInt(digits + rest.substring(digits.length() - 4));
    }
  }

  /** A fault in a query, with its offset. */
  private static final class Fault extends ParseException {
    private static final long serialVersionUID = 1;
    final int offset;

    Fault(int offset, String reason) {
      super(reason);
      this.offset = Math.max(0, offset);
    }
  }
}
