package bioqa;

import java.io.IOException;
import java.util.Set;
import org.apache.lucene.index.StoredFields;
import org.apache.lucene.search.IndexSearcher;

/** Reads stored articles, many per call. */
public final class StoredArticles {
  private static final Set<String> RAW = Set.of("raw");

  private StoredArticles() {}

  /** The stored JSON of the articles with these document numbers. */
  public static String[] raw(IndexSearcher searcher, int[] documents) throws IOException {
    StoredFields stored = searcher.storedFields();
    String[] articles = new String[documents.length];
    for (int i = 0; i < documents.length; i++) {
      articles[i] = stored.document(documents[i], RAW).get("raw");
    }
    return articles;
  }
}
