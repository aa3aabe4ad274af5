package bioqa;

import java.io.IOException;
import java.io.StringReader;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.Term;
import org.apache.lucene.queries.mlt.MoreLikeThis;
import org.apache.lucene.search.BooleanClause.Occur;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.TermQuery;

/** Queries for articles similar to one: Lucene's MoreLikeThis on its title and contents, and its MeSH headings. */
public final class Similar {
  /** A term that only the article itself has finds no other. */
  private static final int MIN_DOCUMENTS = 2;

  private Similar() {}

  /**
   * The query for the documents like an article, without that of its id. Of title and contents it has the {@code terms} terms with the
   * highest tf·idf, weighted by it; the title counts {@code titleWeight} times. {@code headings} are in lower case.
   */
  public static Query query(
      IndexReader reader,
      Analyzer analyzer,
      String id,
      String title,
      String contents,
      String[] headings,
      int terms,
      float titleWeight)
      throws IOException {
    BooleanQuery.Builder like = new BooleanQuery.Builder();
    like.add(like(reader, analyzer, "contents", contents, terms), Occur.SHOULD);
    like.add(new BoostQuery(like(reader, analyzer, "title", title, terms), titleWeight), Occur.SHOULD);
    for (String heading : headings) {
      like.add(new TermQuery(new Term("mesh", heading)), Occur.SHOULD);
    }
    BooleanQuery.Builder others = new BooleanQuery.Builder();
    others.add(like.build(), Occur.MUST);
    others.add(new TermQuery(new Term("id", id)), Occur.MUST_NOT);
    return others.build();
  }

  private static Query like(IndexReader reader, Analyzer analyzer, String field, String text, int terms) throws IOException {
    MoreLikeThis like = new MoreLikeThis(reader);
    like.setAnalyzer(analyzer);
    like.setFieldNames(new String[] {field});
    like.setMinTermFreq(1);
    like.setMinDocFreq(MIN_DOCUMENTS);
    like.setMaxQueryTerms(terms);
    like.setMaxNumTokensParsed(Integer.MAX_VALUE);
    like.setBoost(true);
    return like.like(field, new StringReader(text));
  }
}
