"""Tables read row by row: CSV, TSV and JSON lines, gzipped or not, and Parquet."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bioqa.errors import SourceError
from bioqa.io.bad_records import BadRecordHandler, MalformedError, skip_or_raise
from bioqa.io.json_text import parse_json
from bioqa.io.text_files import read_head, read_line_span, read_lines, source_errors

TableFormat = Literal["csv", "tsv", "jsonl", "parquet"]

PARQUET_MAGIC = b"PAR1"
MAX_FIELD_CHARACTERS = 1 << 24
"""Of a CSV field; Python's own limit of 131,072 is less than a long article has."""

_BOM = b"\xef\xbb\xbf"
_BATCH_ROWS = 1024
_DELIMITERS = {"csv": (",", "comma"), "tsv": ("\t", "tab")}


class Row(NamedTuple):
    """A row: its ``place`` for messages ("pairs.csv, line 3", or "pairs.parquet, row 3") and its values by column."""

    place: str
    values: dict[str, Any]


def format_by_name(path: Path) -> TableFormat | None:
    """The format that a file's ending says, None if it says none; only Parquet files have no ".gz" after it."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return "parquet"
    name = name.removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    if name.endswith(".csv"):
        return "csv"
    return "tsv" if name.endswith(".tsv") else None


def column_names(path: Path, table_format: TableFormat, *, quotes: bool = True) -> list[str]:
    """The names of the columns: the first line of CSV and TSV, the keys of the first JSON object, the schema of Parquet.

    Raises:
        SourceError: as for ``read_rows``.
    """
    if table_format == "parquet":
        with _parquet_errors(path), closing(_open_parquet(path)) as file:
            return list(file.schema_arrow.names)
    if table_format == "jsonl":
        return next((list(row.values) for row in _json_rows(path, None, "Correct the line.")), [])
    return next((fields for _, fields in _delimited_lines(path, table_format, quotes)), [])


def read_rows(
    path: Path,
    table_format: TableFormat,
    *,
    columns: Sequence[str] | None = None,
    header: Sequence[str] | None = None,
    quotes: bool = True,
    on_bad: BadRecordHandler | None = None,
    hint: str = "Correct the line.",
    span: tuple[int, int] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a table in the file's order; blank lines are skipped, and memory does not grow with the file.

    Values in CSV and TSV are text. ``columns`` are those to read of a Parquet file, None for all. ``header`` names the columns of
    CSV or TSV without a header line. Without ``quotes``, quotation marks are ordinary text. ``on_bad`` is called with the
    RecordError of each line that is not a JSON object, which is then skipped; ``hint`` ends the message of that error. ``span``
    limits JSON lines that are not gzipped to those that begin within these bytes, and Parquet to these row groups.

    Raises:
        SourceError: the file is missing, empty, truncated, or not in the format; a line has another number of columns than the
            header, or is not UTF-8. Rows before it may have been yielded.
        RecordError: a line of JSON lines is not a JSON object, if ``on_bad`` is None.
    """
    if table_format == "parquet":
        return _parquet_rows(path, columns, span)
    if table_format == "jsonl":
        return _json_rows(path, on_bad, hint, span)
    return _delimited_rows(path, table_format, header, quotes)


def parse_json_object(line: bytes, *, first: bool = False) -> dict[str, Any]:
    """The JSON object in a line; the first line of a file may start with a byte order mark.

    Raises:
        MalformedError: not UTF-8, not JSON, out of the bounds of ``parse_json``, or not an object.
    """
    try:
        record = parse_json((line.removeprefix(_BOM) if first else line).decode())
    except UnicodeDecodeError as error:
        raise MalformedError(f"byte {error.start + 1} (0x{error.object[error.start]:02x}) is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error.msg} at character {error.colno}") from None
    if not isinstance(record, dict):
        raise MalformedError(f"not a JSON object but {type(record).__name__}")
    return record


# CSV and JSON lines are read by Python's own modules. pyarrow reads JSON lines only with the same types in every line, and its CSV
# reader names no line for a quoted field with line ends before it, guesses types, and takes empty text for missing.


def _json_rows(
    path: Path, on_bad: BadRecordHandler | None, hint: str, span: tuple[int, int] | None = None
) -> Iterator[Row]:
    where = "line" if span is None else "line at byte"
    for number, line in read_lines(path) if span is None else read_line_span(path, *span):
        if not line.strip():
            continue
        place = f"{path}, {where} {number}"
        try:
            record = parse_json_object(line, first=number <= 1)
        except MalformedError as error:
            skip_or_raise(f"{place}: {error}. {hint}", on_bad)
        else:
            yield Row(place, record)


def _delimited_rows(
    path: Path, table_format: Literal["csv", "tsv"], header: Sequence[str] | None, quotes: bool
) -> Iterator[Row]:
    name = _DELIMITERS[table_format][1]
    for place, fields in _delimited_lines(path, table_format, quotes):
        if header is None:
            header = fields
        elif len(fields) == len(header):
            yield Row(place, dict(zip(header, fields, strict=True)))
        else:
            hint = f" Text with a {name} must be in quotes." if quotes else ""
            raise SourceError(
                f"{place}: expected {len(header)} {name}-separated columns as in the first line, found {len(fields)}.{hint}"
            )


def _delimited_lines(path: Path, table_format: Literal["csv", "tsv"], quotes: bool) -> Iterator[tuple[str, list[str]]]:
    """(place, fields) for each line that is not blank; the place is the last line of quoted text with line ends."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    reader = csv.reader(
        _text_lines(path),
        delimiter=_DELIMITERS[table_format][0],
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    try:
        for fields in reader:
            if fields:
                yield f"{path}, line {reader.line_num}", fields
    except csv.Error as error:
        raise SourceError(f"{path}, line {reader.line_num}: invalid {table_format.upper()} ({error}).") from None


def _text_lines(path: Path) -> Iterator[str]:
    for number, line in read_lines(path):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8") + "\n"
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{path}, line {number}: byte {error.start + 1} (0x{error.object[error.start]:02x}) is not UTF-8. "
                "Save the file as UTF-8."
            ) from None


def row_group_sizes(path: Path) -> list[int]:
    """The bytes of each row group of a Parquet file, before compression.

    Raises:
        SourceError: the file is missing or not Parquet.
    """
    with _parquet_errors(path), closing(_open_parquet(path)) as file:
        return [file.metadata.row_group(number).total_byte_size for number in range(file.metadata.num_row_groups)]


def _parquet_rows(path: Path, columns: Sequence[str] | None, span: tuple[int, int] | None = None) -> Iterator[Row]:
    with _parquet_errors(path), closing(_open_parquet(path)) as file:
        groups = None if span is None else list(range(*span))
        number = sum(file.metadata.row_group(group).num_rows for group in range(span[0] if span else 0))
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns, use_threads=False):
            for number, values in enumerate(_batch_rows(path, batch, number), start=number + 1):  # noqa: B020
                yield Row(f"{path}, row {number}", values)


def _batch_rows(path: Path, batch: Any, before: int) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:  # text that is not UTF-8, a time out of range
        place = f"{path}, rows {before + 1} to {before + batch.num_rows}"
        raise SourceError(f"{place}: a value cannot be read ({error}). Write the file again.") from None


def _open_parquet(path: Path) -> Any:
    from pyarrow.parquet import ParquetFile

    read_head(path, len(PARQUET_MAGIC))  # clear errors for missing and empty files and folders
    return ParquetFile(path)


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    """Raise pyarrow's errors as a SourceError."""
    import pyarrow as pa

    try:
        with source_errors(path):
            yield
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path} is not a valid Parquet file ({reason}). Write it again.") from None
