"""Parquet: one article a row."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from bioqa.corpus.errors import MalformedError, OnBad, reject
from bioqa.corpus.rows import FIELDS, ID_FIELDS, TEXT_FIELDS, article_of
from bioqa.errors import SourceError
from bioqa.io.text_files import read_head, source_errors
from bioqa.types import Article

BATCH_ROWS = 1024


def read_parquet(path: Path, on_bad: OnBad | None = None) -> Iterator[Article]:
    """Yield the article of each row of a Parquet file, read in batches of 1,024 rows.

    The columns are the fields of ``rows.article_of``; only those are read.

    Raises:
        SourceError: the file is missing, not Parquet or broken, or has no column for an id or for a text.
        RecordError: a row is not a usable record, where ``on_bad`` is None.
    """
    import pyarrow as pa

    read_head(path, 4)
    try:
        with source_errors(path), closing(_open(path)) as file:
            columns = _columns(path, list(file.schema_arrow.names))
            number = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                for number, row in enumerate(_rows(path, batch, number), start=number + 1):  # noqa: B020
                    yield from _article(path, number, row, on_bad)
    except pa.ArrowException as error:
        raise SourceError(
            f"{path} is not a sound Parquet file ({str(error).splitlines()[0]}). Write it again."
        ) from None


def _open(path: Path) -> Any:
    from pyarrow.parquet import ParquetFile

    return ParquetFile(path)


def _rows(path: Path, batch: Any, before: int) -> list[dict[str, object]]:
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:  # text that is not UTF-8, a time out of range
        where = f"{path}, records {before + 1} to {before + batch.num_rows}"
        raise SourceError(f"{where}: a value cannot be read ({error}). Write the file again.") from None


def _columns(path: Path, present: list[str]) -> list[str]:
    """Return the columns to read."""
    for what, names in (("an id", ID_FIELDS), ("a text", (*TEXT_FIELDS, "title"))):
        if not any(name in present for name in names):
            has, needed = ", ".join(present) or "none", ", ".join(names)
            raise SourceError(f"{path} has no column for {what}: it has {has}, and needs one of {needed}. Rename one.")
    return [name for name in FIELDS if name in present]


def _article(path: Path, number: int, row: dict[str, object], on_bad: OnBad | None) -> Iterator[Article]:
    try:
        article = article_of(row)
    except MalformedError as error:
        reject(f"{path}, record {number}: {error}. Correct the row, or skip bad records.", on_bad)
    else:
        yield article
