package bioqa;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.document.IntPoint;
import org.apache.lucene.queryparser.classic.MultiFieldQueryParser;
import org.apache.lucene.queryparser.classic.ParseException;
import org.apache.lucene.queryparser.classic.Token;
import org.apache.lucene.queryparser.classic.TokenMgrError;
import org.apache.lucene.search.Query;

/** Lucene's classic query parser, with date ranges, an error for unknown fields, and the position of every error. */
final class FieldQueryParser extends MultiFieldQueryParser {
  private static final Pattern COLUMN = Pattern.compile("column (\\d+)");
  private static final List<String> FIELDS =
      List.of("contents", "title", "id", "date", "journal", "mesh", "type", "language", "lacks");
  private final String text;

  FieldQueryParser(String text, Analyzer analyzer, float titleWeight) {
    super(
        titleWeight > 0 ? new String[] {"contents", "title"} : new String[] {"contents"},
        analyzer,
        titleWeight > 0 ? Map.of("contents", 1f, "title", titleWeight) : Map.of("contents", 1f));
    this.text = text;
  }

  /** Converts a UTF-16 offset in the text to a number of characters. */
  int position(int offset) {
    return text.codePointCount(0, Math.max(0, Math.min(offset, text.length())));
  }

  /** "POSITION REASON" for an exception of {@code parse}: our own, or one from Lucene's grammar or tokenizer. */
  String explain(ParseException problem) {
    Throwable cause = problem.getCause() == null ? problem : problem.getCause();
    if (cause instanceof InvalidQueryException invalid) {
      return position(invalid.offset) + " " + invalid.getMessage();
    }
    if (cause instanceof ParseException grammar && grammar.currentToken != null) {
      Token next = grammar.currentToken.next;
      String reason = next.kind == 0 ? "expected a word, a phrase or a parenthesis at the end" : "unexpected " + next.image;
      return position(next.kind == 0 ? text.length() : next.beginColumn) + " " + reason;
    }
    String message = String.valueOf(cause.getMessage());
    Matcher column = COLUMN.matcher(message);
    if (cause instanceof TokenMgrError && column.find()) {
      int quote = unclosedQuote();
      if (quote >= 0) {
        return position(quote) + " unclosed quotation mark";
      }
      int end = Integer.parseInt(column.group(1)); // past the unreadable character, or at the end
      return message.contains("<EOF>") ? position(end) + " unexpected end of the query" : position(end - 1) + " unexpected character";
    }
    return position(0) + " " + cause.getMessage();
  }

  private int unclosedQuote() {
    int open = -1;
    for (int i = 0; i < text.length(); i++) {
      if (text.charAt(i) == '\\') {
        i++;
      } else if (text.charAt(i) == '"') {
        open = open < 0 ? i : -1;
      }
    }
    return open;
  }

  private void check(String field) throws InvalidQueryException {
    if (field != null && !FIELDS.contains(field)) {
      String reason = "unknown field " + field + "; the fields are " + String.join(", ", FIELDS);
      throw new InvalidQueryException(text.indexOf(field + ":"), reason);
    }
  }

  @Override
  protected Query getFieldQuery(String field, String value, boolean quoted) throws ParseException {
    check(field);
    return "date".equals(field) ? dates(value, value, true, true) : super.getFieldQuery(field, value, quoted);
  }

  @Override
  protected Query getFieldQuery(String field, String value, int slop) throws ParseException {
    check(field);
    return "date".equals(field) ? dates(value, value, true, true) : super.getFieldQuery(field, value, slop);
  }

  @Override
  protected Query getRangeQuery(String field, String from, String to, boolean fromIn, boolean toIn) throws ParseException {
    check(field);
    return "date".equals(field) ? dates(from, to, fromIn, toIn) : super.getRangeQuery(field, from, to, fromIn, toIn);
  }

  @Override
  protected Query getPrefixQuery(String field, String value) throws ParseException {
    check(field);
    return super.getPrefixQuery(field, value.toLowerCase(Locale.ROOT));
  }

  @Override
  protected Query getWildcardQuery(String field, String value) throws ParseException {
    check(field);
    if (value.startsWith("?") || (value.startsWith("*") && value.length() > 1)) {
      throw new InvalidQueryException(text.indexOf(value), "a term cannot start with * or ?");
    }
    return super.getWildcardQuery(field, value.toLowerCase(Locale.ROOT));
  }

  @Override
  protected Query getFuzzyQuery(String field, String value, float similarity) throws ParseException {
    check(field);
    if (similarity > 2 || (similarity > 1 && similarity != (int) similarity)) {
      throw new InvalidQueryException(text.indexOf(value + "~"), "the edit distance of a fuzzy term must be 1 or 2 (~1, ~2)");
    }
    return super.getFuzzyQuery(field, value.toLowerCase(Locale.ROOT), similarity);
  }

  @Override
  protected Query getRegexpQuery(String field, String value) throws ParseException {
    check(field);
    return super.getRegexpQuery(field, value);
  }

  /** Publication dates between two of YYYY, YYYY-MM, YYYY-MM-DD or YYYYMMDD; null for no bound. */
  private Query dates(String from, String to, boolean fromIn, boolean toIn) throws InvalidQueryException {
    int low = from == null ? 0 : fromIn ? day(from, "0000") : day(from, "9999") + 1;
    int high = to == null ? Integer.MAX_VALUE : toIn ? day(to, "9999") : day(to, "0000") - 1;
    return IntPoint.newRangeQuery("date", low, high);
  }

  private int day(String date, String rest) throws InvalidQueryException {
    String digits = date.replace("-", "");
    if (!date.matches("\\d{4}(-\\d\\d){0,2}|\\d{8}")) {
      int offset = text.indexOf(date, Math.max(0, text.indexOf("date:")));
      throw new InvalidQueryException(offset, date + " is not a date; write YYYY, YYYY-MM or YYYY-MM-DD");
    }
    return Integer.parseInt(digits + rest.substring(digits.length() - 4));
  }
}
