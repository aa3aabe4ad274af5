package bioqa;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.core.KeywordAnalyzer;
import org.apache.lucene.analysis.miscellaneous.PerFieldAnalyzerWrapper;
import org.apache.lucene.queryparser.classic.ParseException;
import org.apache.lucene.search.Query;

/** Parses queries in Lucene's syntax. */
public final class QuerySyntax {
  private QuerySyntax() {}

  /**
   * A query in Lucene's syntax over {@code contents}, and over {@code title} too if its weight is above 0. Throws an
   * IllegalArgumentException with the message "POSITION REASON" if the query is invalid; POSITION counts characters from 0.
   */
  public static Query parse(String text, Analyzer analyzer, float titleWeight) {
    Map<String, Analyzer> analyzers = new HashMap<>();
    for (String field : DocumentWriter.FILTER_FIELDS) {
      analyzers.put(field, new ExactValueAnalyzer());
    }
    for (String field : List.of("mark", "pmcid", "doi", "lacks")) {
      analyzers.put(field, new ExactValueAnalyzer());
    }
    analyzers.put("id", new KeywordAnalyzer());
    FieldQueryParser parser = new FieldQueryParser(text, new PerFieldAnalyzerWrapper(analyzer, analyzers), titleWeight);
    try {
      return parser.parse(text);
    } catch (ParseException problem) {
      throw new IllegalArgumentException(parser.explain(problem));
    } catch (StackOverflowError problem) {
      throw new IllegalArgumentException("0 parentheses are nested too deeply");
    } catch (RuntimeException problem) { // from a regular expression, which has its own parser
      throw new IllegalArgumentException(parser.position(text.indexOf('/')) + " " + problem.getMessage());
    }
  }
}
