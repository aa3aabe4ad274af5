"""JSON lines: one article a line."""

from collections.abc import Iterator
from pathlib import Path

from bioqa.corpus.rows import row_to_article
from bioqa.io.bad_records import BadRecordHandler, MalformedError, skip_or_raise
from bioqa.io.tabular import read_rows
from bioqa.types import Article

HINT = "Correct the line, or skip bad records."


def read_jsonl(
    path: Path, on_bad: BadRecordHandler | None = None, span: tuple[int, int] | None = None
) -> Iterator[Article]:
    """Yield the article of each line of a JSON lines file, gzipped or not; blank lines are skipped.

    ``span`` are the bytes in which the lines to read begin, of a file that is not gzipped; None for all. The fields are those of
    ``rows.row_to_article``; Anserini's ``contents`` is the text, whole.

    Raises:
        SourceError: the file is missing, empty or truncated.
        RecordError: a line is not UTF-8, not a JSON object or not a valid record, if ``on_bad`` is None.
    """
    for row in read_rows(path, "jsonl", on_bad=on_bad, hint=HINT, span=span):
        try:
            article = row_to_article(row.values)
        except MalformedError as error:
            skip_or_raise(f"{row.place}: {error}. {HINT}", on_bad)
        else:
            yield article
