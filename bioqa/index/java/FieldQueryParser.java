package bioqa;

import java.time.YearMonth;
import java.util.ArrayList;
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
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.MatchAllDocsQuery;
import org.apache.lucene.search.MatchNoDocsQuery;
import org.apache.lucene.search.Query;

/**
 * Lucene's classic query parser, with date ranges, negation of everything else in its brackets, an error for unknown fields, and the
 * position of every error.
 */
final class FieldQueryParser extends MultiFieldQueryParser {
  private static final Pattern COLUMN = Pattern.compile("column (\\d+)");
  private static final Pattern DATE = Pattern.compile("(\\d{4})(?:-(\\d\\d)(?:-(\\d\\d))?)?|(\\d{4})(\\d\\d)(\\d\\d)");
  /** The value of QueryParserBase.MOD_NOT, which is not public. */
  private static final int NOT = 10;
  private static final List<String> FIELDS =
      List.of(
          "contents", "title", "id", "date", "entered", "journal", "mesh", "major_topic", "type", "language", "author", "mark", "pmcid", "doi",
          "lacks");
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

  /** A word that the analyzer removes, such as "the", is in no article: without it is every article. */
  @Override
  protected void addClause(List<BooleanClause> clauses, int conjunction, int modifier, Query query) {
    super.addClause(clauses, conjunction, modifier, query == null && modifier == NOT ? new MatchNoDocsQuery() : query);
  }

  /** Clauses that are all negative mean every article but those; by itself Lucene finds nothing for them. */
  @Override
  protected Query getBooleanQuery(List<BooleanClause> clauses) throws ParseException {
    if (!clauses.isEmpty() && clauses.stream().allMatch(BooleanClause::isProhibited)) {
      clauses = new ArrayList<>(clauses);
      clauses.add(new BooleanClause(new MatchAllDocsQuery(), BooleanClause.Occur.FILTER)); // a filter adds nothing to scores
    }
    return super.getBooleanQuery(clauses);
  }

  @Override
  protected Query getFieldQuery(String field, String value, boolean quoted) throws ParseException {
    check(field);
    return isDate(field) ? dates(field, value, value, true, true) : super.getFieldQuery(field, value, quoted);
  }

  @Override
  protected Query getFieldQuery(String field, String value, int slop) throws ParseException {
    check(field);
    return isDate(field) ? dates(field, value, value, true, true) : super.getFieldQuery(field, value, slop);
  }

  @Override
  protected Query getRangeQuery(String field, String from, String to, boolean fromIn, boolean toIn) throws ParseException {
    check(field);
    return isDate(field) ? dates(field, from, to, fromIn, toIn) : super.getRangeQuery(field, from, to, fromIn, toIn);
  }

  @Override
  protected Query getPrefixQuery(String field, String value) throws ParseException {
    check(field);
    refuseDate(field, value, "*");
    return super.getPrefixQuery(field, value.toLowerCase(Locale.ROOT));
  }

  @Override
  protected Query getWildcardQuery(String field, String value) throws ParseException {
    if ("*".equals(field) && "*".equals(value)) {
      return new MatchAllDocsQuery();
    }
    check(field);
    refuseDate(field, value, "");
    if (value.startsWith("?") || value.startsWith("*")) {
      throw new InvalidQueryException(text.indexOf(value), "a term cannot start with * or ?; *:* is every article");
    }
    return super.getWildcardQuery(field, value.toLowerCase(Locale.ROOT));
  }

  @Override
  protected Query getFuzzyQuery(String field, String value, float similarity) throws ParseException {
    check(field);
    refuseDate(field, value, "~");
    if (similarity > 2 || (similarity > 1 && similarity != (int) similarity)) {
      throw new InvalidQueryException(text.indexOf(value + "~"), "the edit distance of a fuzzy term must be 1 or 2 (~1, ~2)");
    }
    return super.getFuzzyQuery(field, value.toLowerCase(Locale.ROOT), similarity);
  }

  @Override
  protected Query getRegexpQuery(String field, String value) throws ParseException {
    check(field);
    refuseDate(field, "/" + value, "/");
    return super.getRegexpQuery(field, value);
  }

  /** Dates are numbers in the index, so that neither a prefix nor a wildcard, a fuzzy term or a regular expression matches any. */
  private void refuseDate(String field, String value, String end) throws InvalidQueryException {
    if (isDate(field)) {
      throw new InvalidQueryException(dateOffset(value), notADate(value + end, "write YYYY, YYYY-MM or YYYY-MM-DD, or [FROM TO TO]"));
    }
  }

  private static boolean isDate(String field) {
    return "date".equals(field) || "entered".equals(field);
  }

  /** Dates between two of YYYY, YYYY-MM, YYYY-MM-DD or YYYYMMDD; null for no bound. */
  private Query dates(String field, String from, String to, boolean fromIn, boolean toIn) throws InvalidQueryException {
    if (from != null && to != null && day(from, false) > day(to, true)) {
      throw new InvalidQueryException(dateOffset(from), "the start date " + from + " is after the end date " + to);
    }
    int low = from == null ? 0 : fromIn ? day(from, false) : day(from, true) + 1;
    int high = to == null ? Integer.MAX_VALUE : toIn ? day(to, true) : day(to, false) - 1;
    return IntPoint.newRangeQuery(field, low, high);
  }

  /** The first or the last day that a date can mean, as the number YYYYMMDD; what is refused here, {@code --since} refuses too. */
  private int day(String date, boolean last) throws InvalidQueryException {
    Matcher parts = DATE.matcher(date);
    if (!parts.matches()) {
      throw new InvalidQueryException(dateOffset(date), notADate(date, "write YYYY, YYYY-MM or YYYY-MM-DD"));
    }
    int first = parts.group(1) != null ? 1 : 4;
    int year = Integer.parseInt(parts.group(first));
    int month = number(parts.group(first + 1), last ? 12 : 1);
    if (month < 1 || month > 12) {
      throw new InvalidQueryException(dateOffset(date), notADate(date, "there is no month " + parts.group(first + 1)));
    }
    int days = YearMonth.of(Math.max(year, 1), month).lengthOfMonth();
    int day = number(parts.group(first + 2), last ? days : 1);
    if (day < 1 || day > days) {
      throw new InvalidQueryException(dateOffset(date), notADate(date, "that month has " + days + " days"));
    }
    return year * 10_000 + month * 100 + day;
  }

  private static int number(String digits, int otherwise) {
    return digits == null ? otherwise : Integer.parseInt(digits);
  }

  private static String notADate(String value, String reason) {
    return value + " is not a date: " + reason;
  }

  /** The offset of a value of the field date, or of the field if the query has the value escaped. */
  private int dateOffset(String value) {
    int field = Math.max(0, Math.max(text.indexOf("date:"), text.indexOf("entered:")));
    return Math.max(field, text.indexOf(value, field));
  }
}
