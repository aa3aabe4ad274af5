package bioqa;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.apache.lucene.analysis.TokenFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.analysis.tokenattributes.PositionIncrementAttribute;

/** Adds the folded forms of a token at its position, or puts them in its place. Tokens of ASCII characters stay as they are. */
final class FoldingFilter extends TokenFilter {
  private final Folding folding;
  private final boolean keep;
  private final CharTermAttribute term = addAttribute(CharTermAttribute.class);
  private final PositionIncrementAttribute increment = addAttribute(PositionIncrementAttribute.class);
  private final Deque<String> waiting = new ArrayDeque<>();
  private State token;

  /** {@code keep}: whether the token itself stays. */
  FoldingFilter(TokenStream input, Folding folding, boolean keep) {
    super(input);
    this.folding = folding;
    this.keep = keep;
  }

  @Override
  public boolean incrementToken() throws IOException {
    if (!waiting.isEmpty()) {
      restoreState(token);
      term.setEmpty().append(waiting.remove());
      increment.setPositionIncrement(0);
      return true;
    }
    if (!input.incrementToken()) {
      return false;
    }
    if (isAscii()) {
      return true;
    }
    String original = term.toString();
    List<String> forms = folding.forms(original);
    waiting.addAll(forms);
    if (forms.get(0).equals(original)) {
      waiting.remove();
    } else if (!keep) {
      term.setEmpty().append(waiting.remove());
    }
    if (!waiting.isEmpty()) {
      token = captureState();
    }
    return true;
  }

  private boolean isAscii() {
    char[] letters = term.buffer();
    for (int i = 0, length = term.length(); i < length; i++) {
      if (letters[i] > 127) {
        return false;
      }
    }
    return true;
  }

  @Override
  public void reset() throws IOException {
    super.reset();
    waiting.clear();
    token = null;
  }
}
