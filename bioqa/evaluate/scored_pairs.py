"""Files of scored pairs: a label and a score each, as CSV, TSV, JSON lines or Parquet."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import SourceError, UsageError
from bioqa.evaluate.classification import check_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABEL_COLUMNS = ("label", "labels", "relevance", "relevant", "rel", "gold", "target", "y")
SCORE_COLUMNS = ("score", "scores", "probability", "prob", "prediction", "logit", "similarity")
TAB = "\t"


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """The labels [n] (true: relevant) and scores [n] of a file, and the names of the columns that they were read from."""

    labels: "NDArray[np.bool_]"
    scores: "NDArray[np.float64]"
    label_column: str
    score_column: str


def read_scored(path: str | Path, label_column: str | None = None, score_column: str | None = None) -> ScoredPairs:
    """The labels and scores of a file; the ending tells the format (.csv, .tsv, .jsonl, .parquet; all but the last also .gz).

    Where no column is named, the first of ``LABEL_COLUMNS`` and of ``SCORE_COLUMNS`` that the file has is taken.

    Raises:
        SourceError: the file cannot be read, has no such column, a label is not the number 0 or 1, a score is not a finite
            number, or all labels are the same; the message names the file and the line.
        UsageError: an ending that names none of the formats.
    """
    import numpy as np

    path = Path(path)
    label_column, score_column, values = _columns(path, label_column, score_column)
    labels, scores = [], []
    for where, label, score in values:
        labels.append(_label(where, label))
        scores.append(_score(where, score))
    try:
        truth, numbers = check_pairs(np.array(labels, np.float64), np.array(scores, np.float64))
    except SourceError as problem:
        raise SourceError(f"{path}: {problem}") from None
    return ScoredPairs(truth, numbers, label_column, score_column)


_Rows = Iterable[tuple[str, Any, Any]]


def _columns(path: Path, label: str | None, score: str | None) -> tuple[str, str, _Rows]:
    """The names of both columns, and (place, label, score) for each row."""
    if path.is_dir():
        raise SourceError(f"{path} is a folder where a file is needed. Name a file in it.")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        return _parquet(path, label, score)
    if name.endswith((".jsonl", ".ndjson")):
        return _jsonl(path, label, score)
    if name.endswith((".csv", ".tsv")):
        return _delimited(path, TAB if name.endswith(".tsv") else ",", label, score)
    raise UsageError(f"{path}: the ending tells the format; it must be .csv, .tsv, .jsonl or .parquet.")


def _chosen(path: Path, present: Sequence[str], label: str | None, score: str | None) -> tuple[str, str]:
    return _one(path, "label", LABEL_COLUMNS, present, label), _one(path, "score", SCORE_COLUMNS, present, score)


def _one(path: Path, what: str, known: Sequence[str], present: Sequence[str], asked: str | None) -> str:
    for name in known if asked is None else [asked]:
        if present.count(name) > 1:
            raise SourceError(
                f"{path}: its header has the column {name!r} {present.count(name)} times. Rename one of them."
            )
        if name in present:
            return name
    sought = f"none of {', '.join(known)}" if asked is None else f"no column {asked!r}"
    raise SourceError(
        f"{path} has {sought}; it has {', '.join(present) or 'no column'}. Name the one to take with --{what}-column."
    )


def _delimited(path: Path, delimiter: str, label: str | None, score: str | None) -> tuple[str, str, _Rows]:
    from bioqa.io.text_files import LONGEST_FIELD

    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(_text_lines(path), delimiter=delimiter)

    def lines() -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as problem:
            raise SourceError(f"{path}, line {reader.line_num}: not sound CSV ({problem}).") from None

    found = lines()
    header = next(found, [])
    label, score = _chosen(path, header, label, score)
    at = header.index(label), header.index(score)

    def rows() -> Iterator[tuple[str, Any, Any]]:
        for row in found:
            where = f"{path}, line {reader.line_num}"
            if len(row) == len(header):
                yield where, row[at[0]], row[at[1]]
            elif row:
                raise SourceError(
                    f"{where}: {len(row)} column{'s' * (len(row) > 1)}, where the header has {len(header)}. Text with a "
                    f"{'tab' if delimiter == TAB else 'comma'} in it must be in quotes."
                )

    return label, score, rows()


def _jsonl(path: Path, label: str | None, score: str | None) -> tuple[str, str, _Rows]:
    def records() -> Iterator[tuple[str, dict[str, Any]]]:
        for number, line in enumerate(_text_lines(path), start=1):
            if line.strip():
                yield f"{path}, line {number}", _record(f"{path}, line {number}", line)

    found = records()
    place, first = next(found, (str(path), {}))
    label, score = _chosen(path, list(first), label, score)

    def rows() -> Iterator[tuple[str, Any, Any]]:
        yield place, first[label], first[score]
        for where, record in found:
            if label not in record or score not in record:
                raise SourceError(f"{where}: it lacks {label if label not in record else score!r}, which line 1 has.")
            yield where, record[label], record[score]

    return label, score, rows()


def _record(where: str, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as problem:
        raise SourceError(f"{where}: not JSON ({problem.msg} at character {problem.pos + 1}).") from None
    except (ValueError, RecursionError) as problem:
        raise SourceError(f"{where}: not JSON ({problem}).") from None
    if not isinstance(record, dict):
        raise SourceError(f"{where}: not a JSON object.")
    return record


def _parquet(path: Path, label: str | None, score: str | None) -> tuple[str, str, _Rows]:
    import pyarrow as pa
    from pyarrow.parquet import read_schema, read_table

    from bioqa.io.text_files import read_head, source_errors

    read_head(path, 4)
    try:
        with source_errors(path):
            label, score = _chosen(path, read_schema(path).names, label, score)
            table = read_table(path, columns=[label, score])
    except pa.ArrowException as problem:
        raise SourceError(f"{path} is not a sound Parquet file ({str(problem).splitlines()[0]}).") from None
    pairs = zip(table.column(label).to_pylist(), table.column(score).to_pylist(), strict=True)
    return label, score, ((f"{path}, row {row}", *pair) for row, pair in enumerate(pairs, start=1))


def _text_lines(path: Path) -> Iterator[str]:
    from bioqa.io.text_files import read_lines

    for number, line in read_lines(path):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8") + "\n"
        except UnicodeDecodeError:
            raise SourceError(f"{path}, line {number}: not UTF-8. Save the file as UTF-8.") from None


def _label(where: str, value: Any) -> float:
    number = _number(value)
    if number is None or number not in (0, 1):
        raise SourceError(f"{where}: the label is {_shown(value)}. Labels are the numbers 0 and 1.")
    return number


def _score(where: str, value: Any) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise SourceError(f"{where}: the score is {_shown(value)}, not a finite number.")
    return number


def _shown(value: Any) -> str:
    return "missing" if value in (None, "") else repr(value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # the last: a whole number of more than 308 digits
        return None
