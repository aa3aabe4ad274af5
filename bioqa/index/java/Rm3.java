package bioqa;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.TermQuery;

/** RM3 pseudo-relevance feedback (Abdul-Jaleel et al. 2004), with the same weights as Anserini's Rm3Reranker. */
public final class Rm3 {
  /** Terms in more than this share of all documents are not added. */
  private static final float MAX_SHARE = 0.1f;

  private Rm3() {}

  /**
   * The question's terms interpolated with the strongest terms of the feedback documents. {@code texts} and {@code scores} are those
   * documents and their first-stage scores; {@code terms} is the number of feedback terms, {@code weight} that of the question's own.
   * Only terms of 2 to 20 ASCII letters and digits are added.
   */
  public static Query expand(
      IndexReader reader, Analyzer analyzer, String field, String question, String[] texts, float[] scores, int terms, float weight)
      throws IOException {
    Map<String, Float> feedback = new HashMap<>();
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
        feedback.merge(entry.getKey(), entry.getValue() * scores[i], Float::sum);
      }
    }
    Map<String, Float> original = strongest(counts(analyzer, question), Integer.MAX_VALUE);
    Map<String, Float> mixed = new TreeMap<>();
    original.forEach((term, share) -> mixed.merge(term, weight * share, Float::sum));
    strongest(feedback, terms).forEach((term, share) -> mixed.merge(term, (1 - weight) * share, Float::sum));
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

  /** The {@code terms} terms with the highest weights, equal weights in alphabetical order, normalized to sum to 1. */
  private static Map<String, Float> strongest(Map<String, Float> weights, int terms) {
    List<Map.Entry<String, Float>> order = new ArrayList<>(weights.entrySet());
    order.sort(Map.Entry.<String, Float>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()));
    List<Map.Entry<String, Float>> kept = order.subList(0, Math.min(terms, order.size()));
    double sum = kept.stream().mapToDouble(Map.Entry::getValue).sum();
    Map<String, Float> shares = new HashMap<>();
    kept.forEach(entry -> shares.put(entry.getKey(), (float) (entry.getValue() / sum)));
    return shares;
  }
}
