package bioqa;

import java.text.Normalizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The folded forms of a token in lower case: without accents, compatibility forms and ligatures resolved, Greek letters spelled out. The
 * same as {@code forms} in index/folding.py, which has the tables.
 */
final class Folding {
  /** A longer run of Greek letters is a Greek word. */
  private static final int SYMBOLS = 2;

  private final Map<Integer, String> letters;
  private final Map<Integer, String> greek;

  /** Tables as lines of a letter, a space and what stands for it. */
  Folding(String letters, String greek) {
    this.letters = table(letters);
    this.greek = table(greek);
  }

  private static Map<Integer, String> table(String lines) {
    Map<Integer, String> found = new HashMap<>();
    lines.lines().forEach(line -> found.put(line.codePointAt(0), line.substring(line.indexOf(' ') + 1)));
    return found;
  }

  /** The token in folded form; then, if a Greek letter stands inside it, the parts of that form, each from a Greek letter to the next. */
  List<String> forms(String token) {
    String decomposed = Normalizer.normalize(token, Normalizer.Form.NFKD);
    int[] points = decomposed.codePoints().filter(point -> !isAccent(point)).map(Character::toLowerCase).toArray();
    List<String> parts = new ArrayList<>();
    StringBuilder part = new StringBuilder();
    for (int at = 0; at < points.length; ) {
      int end = at;
      while (end < points.length && greek.containsKey(points[end])) {
        end++;
      }
      if (end == at) {
        String letter = letters.get(points[at]);
        part.append(letter == null ? Character.toString(points[at]) : letter);
        at++;
      } else if (end - at > SYMBOLS) {
        part.append(new String(points, at, end - at));
        at = end;
      } else {
        for (; at < end; at++) {
          if (part.length() > 0) {
            parts.add(composed(part));
            part.setLength(0);
          }
          part.append(greek.get(points[at]));
        }
      }
    }
    parts.add(composed(part));
    List<String> forms = new ArrayList<>(List.of(String.join("", parts)));
    if (parts.size() > 1) {
      forms.addAll(parts);
    }
    return forms;
  }

  private static String composed(CharSequence part) {
    return Normalizer.normalize(part, Normalizer.Form.NFC);
  }

  /** Whether it is a combining accent: other combining marks are letters of their scripts. */
  private static boolean isAccent(int point) {
    return point >= 0x300 && point <= 0x36F
        || point >= 0x1AB0 && point <= 0x1AFF
        || point >= 0x1DC0 && point <= 0x1DFF
        || point >= 0x20D0 && point <= 0x20FF
        || point >= 0xFE20 && point <= 0xFE2F;
  }
}
