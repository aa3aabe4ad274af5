"""Statistics of training pairs, as published model cards report them."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioqa.errors import PairsError
from bioqa.pairs.read_pairs import column_values

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 3


@dataclass(frozen=True, slots=True)
class TextLengths:
    """Shortest, mean and longest text of a column, in characters."""

    min: int
    mean: float
    max: int


@dataclass(frozen=True, slots=True)
class PairSample:
    """A pair drawn at random."""

    question: str
    passage: str
    label: float


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """Rows, distinct questions, rows with a label of 0.5 or more, rows by kind, text lengths, and some rows at random."""

    rows: int
    questions: int
    positives: int
    kinds: dict[str, int]
    question: TextLengths
    passage: TextLengths
    samples: tuple[PairSample, ...]

    @property
    def positive_share(self) -> float:
        """The share of rows with a label of 0.5 or more, 0 to 1."""
        return self.positives / self.rows


def describe_pairs(batches: "Iterable[pa.RecordBatch]", seed: int = 42) -> PairStatistics:
    """The statistics of pairs in batches (from ``read_batches`` or ``table.to_batches()``); ``seed`` chooses the samples.

    Raises:
        PairsError: there are no rows.
    """
    rows, positives = 0, 0
    kinds: Counter[str] = Counter()
    ids: set[str] = set()
    lengths: tuple[list[TextLengths], list[TextLengths]] = ([], [])
    rng = random.Random(seed)
    samples: list[PairSample] = []
    for batch in batches:
        questions, passages, labels = (column_values(batch, name) for name in ("question", "passage", "label"))
        for texts, found in zip((questions, passages), lengths, strict=True):
            found[:] = [_lengths(texts, rows, *found)]
        ids.update(column_values(batch, "question_id"))
        kinds.update(column_values(batch, "kind"))
        positives += sum(label >= 0.5 for label in labels)
        for drawn in zip(questions, passages, labels, strict=True):
            rows += 1
            place = len(samples) if rows <= SAMPLES else rng.randrange(rows)  # reservoir sampling
            if place < SAMPLES:
                samples[place : place + 1] = [PairSample(*drawn)]
    if not rows:
        raise PairsError("There are no pairs to describe.")
    [question], [passage] = lengths
    return PairStatistics(rows, len(ids), positives, dict(sorted(kinds.items())), question, passage, tuple(samples))


def _lengths(texts: Sequence[str], rows: int, before: TextLengths | None = None) -> TextLengths:
    """The lengths of texts, combined with those of ``rows`` earlier texts."""
    counts = [len(text) for text in texts]
    new = TextLengths(min(counts), sum(counts) / len(counts), max(counts))
    if before is None:
        return new
    mean = (before.mean * rows + sum(counts)) / (rows + len(counts))
    return TextLengths(min(before.min, new.min), mean, max(before.max, new.max))
