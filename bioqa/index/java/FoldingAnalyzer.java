package bioqa;

import java.io.IOException;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.LowerCaseFilter;
import org.apache.lucene.analysis.StopFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.analysis.en.EnglishPossessiveFilter;
import org.apache.lucene.analysis.en.PorterStemFilter;
import org.apache.lucene.analysis.standard.StandardTokenizer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.analysis.tokenattributes.PositionIncrementAttribute;

/** Anserini's default English analyzer with {@link FoldingFilter} before stop words and stems. */
public final class FoldingAnalyzer extends Analyzer {
  private final Folding folding;
  private final boolean keep;

  private FoldingAnalyzer(Folding folding, boolean keep) {
    this.folding = folding;
    this.keep = keep;
  }

  /** For indexing, tokens stay beside their folded forms; for queries, folded forms replace them. Tables as for {@link Folding}. */
  public static Analyzer create(String letters, String greek, boolean forIndex) {
    return new FoldingAnalyzer(new Folding(letters, greek), forIndex);
  }

  @Override
  protected TokenStreamComponents createComponents(String field) {
    Tokenizer source = new StandardTokenizer();
    TokenStream words = new LowerCaseFilter(new EnglishPossessiveFilter(source));
    TokenStream kept = new StopFilter(new FoldingFilter(words, folding, keep), EnglishAnalyzer.ENGLISH_STOP_WORDS_SET);
    return new TokenStreamComponents(source, new PorterStemFilter(kept));
  }

  /** For wildcards, prefixes and fuzzy terms, which are one token. */
  @Override
  protected TokenStream normalize(String field, TokenStream in) {
    return new FoldingFilter(new LowerCaseFilter(in), folding, keep);
  }

  /** The tokens of each text with an analyzer, each with its position increment and a newline after it: "naïv 1\nnaiv 0\n". */
  public static String[] tokens(Analyzer analyzer, String[] texts) throws IOException {
    String[] found = new String[texts.length];
    for (int i = 0; i < texts.length; i++) {
      StringBuilder lines = new StringBuilder();
      try (TokenStream tokens = analyzer.tokenStream("contents", texts[i])) {
        CharTermAttribute term = tokens.addAttribute(CharTermAttribute.class);
        PositionIncrementAttribute increment = tokens.addAttribute(PositionIncrementAttribute.class);
        tokens.reset();
        while (tokens.incrementToken()) {
          lines.append(term).append(' ').append(increment.getPositionIncrement()).append('\n');
        }
        tokens.end();
      }
      found[i] = lines.toString();
    }
    return found;
  }
}
