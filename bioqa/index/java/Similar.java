package bioqa;

import java.io.IOException;
import java.io.StringReader;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.Term;
import org.apache.lucene.queries.mlt.MoreLikeThis;
import org.apache.lucene.search.BooleanClause.Occur;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.TermQuery;

/** Queries for articles similar to one: Lucene's MoreLikeThis on its title and contents, and its MeSH headings. */
public final class Similar {
  /** Of each field, the terms with the highest tf·idf; of those that only the article itself has, none. */
  private static final int TERMS = 25, MIN_DOCUMENTS = 2;

  private Similar() {}

  /** The query for the documents like an article, without that of its id; {@code headings} are in lower case. */
  public static Query query(IndexReader reader, Analyzer analyzer, String id, String title, String contents, String[] headings)
      throws IOException {
    BooleanQuery.Builder like = new BooleanQuery.Builder();
    like.add(like(reader, analyzer, "contents", contents), Occur.SHOULD);
    like.add(like(reader, analyzer, "title", title), Occur.SHOULD);
    for (String heading : headings) {
      like.add(new TermQuery(new Term("mesh", heading)), Occur.SHOULD);
    }
    BooleanQuery.Builder others = new BooleanQuery.Builder();
    others.add(like.build(), Occur.MUST);
    others.add(new TermQuery(new Term("id", id)), Occur.MUST_NOT);
    return others.build();
  }

  private static Query like(IndexReader reader, Analyzer analyzer, String field, String text) throws IOException {
    MoreLikeThis terms = new MoreLikeThis(reader);
    terms.setAnalyzer(analyzer);
    terms.setFieldNames(new String[] {field});
    terms.setMinTermFreq(1);
    terms.setMinDocFreq(MIN_DOCUMENTS);
    terms.setMaxQueryTerms(TERMS);
    terms.setMaxNumTokensParsed(Integer.MAX_VALUE);
    return terms.like(field, new StringReader(text));
  }
}
