package bioqa;

import java.io.IOException;
import org.apache.lucene.document.BinaryDocValuesField;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.IntPoint;
import org.apache.lucene.document.NumericDocValuesField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.util.BytesRef;

/** Adds articles to an index, hundreds per call: calling Java from Python once per article would be slow. */
public final class DocumentWriter {
  /** Columns of the row of strings that describes one article. */
  private static final int ID = 0, TITLE = 1, CONTENTS = 2, RAW = 3, VERSION = 4, DATE = 5, FACETS = 6, COLUMNS = 10;

  /** Names of the exact-match fields, in the order of their columns from FACETS on. Their values are newline-separated. */
  static final String[] FACET_FIELDS = {"journal", "mesh", "type", "language"};

  private DocumentWriter() {}

  /** Adds articles, COLUMNS strings each; {@code order} is the position of the first one in the corpus. */
  public static void add(IndexWriter writer, String[] rows, long order) throws IOException {
    for (int at = 0; at < rows.length; at += COLUMNS) {
      Document document = new Document();
      document.add(new StringField("id", rows[at + ID], Field.Store.YES));
      document.add(new BinaryDocValuesField("id", new BytesRef(rows[at + ID])));
      document.add(new TextField("title", rows[at + TITLE], Field.Store.NO));
      document.add(new TextField("contents", rows[at + CONTENTS], Field.Store.NO));
      document.add(new StoredField("raw", rows[at + RAW]));
      document.add(new NumericDocValuesField("version", Long.parseLong(rows[at + VERSION])));
      document.add(new NumericDocValuesField("order", order + at / COLUMNS));
      if (rows[at + DATE].isEmpty()) {
        document.add(new StringField("lacks", "date", Field.Store.NO));
      } else {
        document.add(new IntPoint("date", Integer.parseInt(rows[at + DATE])));
      }
      for (int facet = 0; facet < FACET_FIELDS.length; facet++) {
        String values = rows[at + FACETS + facet];
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
}
