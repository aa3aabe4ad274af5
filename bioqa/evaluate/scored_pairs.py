"""Read files of scored pairs: a label and a score each, as CSV, TSV, JSON lines or Parquet."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import SourceError, UsageError
from bioqa.evaluate.classification import check_pairs
from bioqa.io.tabular import column_names, format_by_name, read_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABEL_COLUMNS = ("label", "labels", "relevance", "relevant", "rel", "gold", "target", "y")
SCORE_COLUMNS = ("score", "scores", "probability", "prob", "prediction", "logit", "similarity")


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """The labels (bool, [n], true: relevant) and scores (float64, [n]) of a file, and the columns that they were read from."""

    labels: "NDArray[np.bool_]"
    scores: "NDArray[np.float64]"
    label_column: str
    score_column: str


def read_scored(path: str | Path, label_column: str | None = None, score_column: str | None = None) -> ScoredPairs:
    """The labels and scores of a file in the format of its ending: .csv, .tsv, .jsonl (each also with .gz) or .parquet.

    A column that is not named is the first of ``LABEL_COLUMNS`` or ``SCORE_COLUMNS`` that the file has.

    Raises:
        SourceError: the file cannot be read, has no such column, a label is not the number 0 or 1, a score is not a finite
            number, or all labels are the same; the message names the file and the line.
        UsageError: the ending is none of these.
    """
    import numpy as np

    path = Path(path)
    table_format = format_by_name(path)
    if os.path.isdir(path):  # noqa: PTH112 - False for impossible names
        raise SourceError(f"{path} is a folder, not a file. Name a file in it.")
    if table_format is None:
        raise UsageError(f"{path}: the ending says the format; it must be .csv, .tsv, .jsonl or .parquet.")
    present = column_names(path, table_format)
    label_column = _column(path, "label", LABEL_COLUMNS, present, label_column)
    score_column = _column(path, "score", SCORE_COLUMNS, present, score_column)
    labels, scores = [], []
    for place, values in read_rows(path, table_format, columns=[label_column, score_column]):
        for name in (label_column, score_column):
            if name not in values:
                raise SourceError(f"{place}: {name!r} is missing, which the first line has.")
        labels.append(_label(place, values[label_column]))
        scores.append(_score(place, values[score_column]))
    try:
        label_array, score_array = check_pairs(np.array(labels, np.float64), np.array(scores, np.float64))
    except SourceError as problem:
        raise SourceError(f"{path}: {problem}") from None
    return ScoredPairs(label_array, score_array, label_column, score_column)


def _column(path: Path, what: str, usual: Sequence[str], present: Sequence[str], named: str | None) -> str:
    """The column to read: the one that is named, else the first usual name that the file has."""
    for name in usual if named is None else [named]:
        if present.count(name) > 1:
            raise SourceError(f"{path}: {present.count(name)} columns are named {name!r}. Rename one of them.")
        if name in present:
            return name
    missing = f"none of the columns {', '.join(usual)}" if named is None else f"no column {named!r}"
    raise SourceError(
        f"{path} has {missing}; it has {', '.join(present) or 'no columns'}. Name the right one with --{what}-column."
    )


def _label(place: str, value: Any) -> float:
    number = _number(value)
    if number is None or number not in (0, 1):
        raise SourceError(f"{place}: the label is {_shown(value)}. Labels are the numbers 0 and 1.")
    return number


def _score(place: str, value: Any) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise SourceError(f"{place}: the score is {_shown(value)}, not a finite number.")
    return number


def _shown(value: Any) -> str:
    return "missing" if value in (None, "") else repr(value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # the last: an integer of more than 308 digits
        return None
