"""Parquet: one article a row."""

from collections.abc import Iterator
from pathlib import Path

from bioqa.corpus.rows import FIELDS, ID_FIELDS, TEXT_FIELDS, row_to_article
from bioqa.errors import SourceError
from bioqa.io.bad_records import BadRecordHandler, MalformedError, skip_or_raise
from bioqa.io.tabular import column_names, read_rows
from bioqa.types import Article


def read_parquet(
    path: Path, on_bad: BadRecordHandler | None = None, span: tuple[int, int] | None = None
) -> Iterator[Article]:
    """Yield the article of each row of a Parquet file, read in batches.

    The columns are the fields of ``rows.row_to_article``; only those are read. ``span`` are the row groups to read,
    None for all.

    Raises:
        SourceError: the file is missing, not Parquet or corrupt, or has no column for an id or for a text.
        RecordError: a row is not a valid record, if ``on_bad`` is None.
    """
    for row in read_rows(path, "parquet", columns=_columns(path), span=span):
        try:
            article = row_to_article(row.values)
        except MalformedError as error:
            skip_or_raise(f"{row.place}: {error}. Correct the row, or skip bad records.", on_bad)
        else:
            yield article


def _columns(path: Path) -> list[str]:
    """The columns to read."""
    present = column_names(path, "parquet")
    for what, names in (("an id", ID_FIELDS), ("a text", (*TEXT_FIELDS, "title"))):
        if not any(name in present for name in names):
            raise SourceError(
                f"{path} has no column for {what}: it has {', '.join(present) or 'none'}, and needs one of {', '.join(names)}. "
                "Rename one."
            )
    return [name for name in FIELDS if name in present]
