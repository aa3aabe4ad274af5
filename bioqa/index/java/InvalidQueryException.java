package bioqa;

import org.apache.lucene.queryparser.classic.ParseException;

/** An error in a query, with its UTF-16 offset. */
final class InvalidQueryException extends ParseException {
  private static final long serialVersionUID = 1;
  final int offset;

  InvalidQueryException(int offset, String reason) {
    super(reason);
    this.offset = Math.max(0, offset);
  }
}
