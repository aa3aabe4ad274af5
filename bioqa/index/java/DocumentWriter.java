package bioqa;

import java.io.IOException;
import org.apache.lucene.document.BinaryDocValuesField;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.IntPoint;
import org.apache.lucene.document.NumericDocValuesField;
import org.apache.lucene.document.SortedSetDocValuesField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.util.BytesRef;

/** Adds articles to an index, hundreds per call: calling Java from Python once per article would be slow. */
public final class DocumentWriter {
  /** Columns of the row of strings that describes one article. */
  private static final int ID = 0, TITLE = 1, CONTENTS = 2, RAW = 3, VERSION = 4, DATE = 5, ENTERED = 6, LACKS = 7, EXACT = 8;

  /** Names of the fields to filter by, in the order of their columns from EXACT on. Their values are newline-separated. */
  static final String[] FILTER_FIELDS = {"journal", "mesh", "type", "language", "author", "major_topic"};

  /** Names of further exact-match fields, in the columns after them. */
  private static final String[] OTHER_FIELDS = {"mark", "pmcid", "doi", "notice"};

  /** Names of the fields whose values are counted, in the columns after those. */
  private static final String[] FACET_FIELDS = {"journal", "mesh", "type", "language", "author"};

  private static final int OTHER = EXACT + FILTER_FIELDS.length, FACETS = OTHER + OTHER_FIELDS.length;
  private static final int COLUMNS = FACETS + FACET_FIELDS.length;

  private DocumentWriter() {}

  /** Adds articles, COLUMNS strings each; {@code order} is the position of the first one in the corpus. */
  public static void add(IndexWriter writer, String[] rows, long order) throws IOException {
    add(writer, rows, order, null, 0, null);
  }

  /** Adds articles with vectors, as {@link VectorWriter#field} reads them. */
  public static void add(IndexWriter writer, String[] rows, long order, byte[] vectors, int dimension, String similarity)
      throws IOException {
    for (int at = 0; at < rows.length; at += COLUMNS) {
      Document document = new Document();
      document.add(new StringField("id", rows[at + ID], Field.Store.YES));
      document.add(new BinaryDocValuesField("id", new BytesRef(rows[at + ID])));
      document.add(new TextField("title", rows[at + TITLE], Field.Store.NO));
      document.add(new TextField("contents", rows[at + CONTENTS], Field.Store.NO));
      document.add(new StoredField("raw", rows[at + RAW]));
      document.add(new NumericDocValuesField("version", Long.parseLong(rows[at + VERSION])));
      document.add(new NumericDocValuesField("order", order + at / COLUMNS));
      addDay(document, "date", rows[at + DATE]);
      addDay(document, "entered", rows[at + ENTERED]);
      if (!rows[at + LACKS].isEmpty()) {
        document.add(new StringField("lacks", rows[at + LACKS], Field.Store.NO));
      }
      for (int field = 0; field < FILTER_FIELDS.length; field++) {
        if (rows[at + EXACT + field].isEmpty()) {
          document.add(new StringField("lacks", FILTER_FIELDS[field], Field.Store.NO));
        }
        addExact(document, FILTER_FIELDS[field], rows[at + EXACT + field]);
      }
      for (int field = 0; field < OTHER_FIELDS.length; field++) {
        addExact(document, OTHER_FIELDS[field], rows[at + OTHER + field]);
      }
      for (int field = 0; field < FACET_FIELDS.length; field++) {
        for (String value : values(rows[at + FACETS + field])) {
          document.add(new SortedSetDocValuesField("facet." + FACET_FIELDS[field], new BytesRef(value)));
        }
      }
      Field vector = vectors == null ? null : VectorWriter.field(vectors, at / COLUMNS, dimension, similarity);
      if (vector != null) {
        document.add(vector);
      }
      writer.addDocument(document);
    }
  }

  private static String[] values(String joined) {
    return joined.isEmpty() ? new String[0] : joined.split("\n");
  }

  private static void addExact(Document document, String field, String joined) {
    for (String value : values(joined)) {
      document.add(new StringField(field, value, Field.Store.NO));
    }
  }

  /** Adds a day as a point for ranges and as a doc value for counting and sorting, or says that there is none. */
  private static void addDay(Document document, String field, String day) {
    if (day.isEmpty()) {
      document.add(new StringField("lacks", field, Field.Store.NO));
    } else {
      document.add(new IntPoint(field, Integer.parseInt(day)));
      document.add(new NumericDocValuesField(field, Integer.parseInt(day)));
    }
  }
}
