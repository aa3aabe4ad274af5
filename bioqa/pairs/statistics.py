"""What is in a file of pairs, as the published model cards tell it."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioqa.errors import PairsError
from bioqa.pairs.pair_file import values

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Lengths:
    """Shortest, mean and longest text of a column, in characters."""

    min: int
    mean: float
    max: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of the data."""

    question: str
    passage: str
    label: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Rows, different questions, rows of label 0.5 and more, rows by kind, lengths of the texts, samples drawn at random."""

    rows: int
    questions: int
    positives: int
    kinds: dict[str, int]
    question: Lengths
    passage: Lengths
    samples: tuple[Sample, ...]

    @property
    def positive_share(self) -> float:
        """The share of rows of label 0.5 and more, 0 to 1."""
        return self.positives / self.rows


def describe(batches: "Iterable[pa.RecordBatch]", seed: int = 42) -> Statistics:
    """The statistics of pairs that come in batches (``pairs.read_batches``, or ``table.to_batches()``).

    Raises:
        PairsError: there is no row.
    """
    rows, positives = 0, 0
    kinds: Counter[str] = Counter()
    ids: set[str] = set()
    lengths: tuple[list[Lengths], list[Lengths]] = ([], [])
    rng = random.Random(seed)
    samples: list[Sample] = []
    for batch in batches:
        questions, passages, labels = (values(batch, name) for name in ("question", "passage", "label"))
        for texts, found in zip((questions, passages), lengths, strict=True):
            found[:] = [_lengths(texts, rows, *found)]
        ids.update(values(batch, "question_id"))
        kinds.update(values(batch, "kind"))
        positives += sum(label >= 0.5 for label in labels)
        for drawn in zip(questions, passages, labels, strict=True):
            rows += 1
            place = len(samples) if rows <= SAMPLES else rng.randrange(rows)  # reservoir sampling
            if place < SAMPLES:
                samples[place : place + 1] = [Sample(*drawn)]
    if not rows:
        raise PairsError("There is no pair to describe.")
    [question], [passage] = lengths
    return Statistics(rows, len(ids), positives, dict(sorted(kinds.items())), question, passage, tuple(samples))


def _lengths(texts: Sequence[str], rows: int, before: Lengths | None = None) -> Lengths:
    """The lengths of texts together with those of ``rows`` texts before."""
    counts = [len(text) for text in texts]
    new = Lengths(min(counts), sum(counts) / len(counts), max(counts))
    if before is None:
        return new
    mean = (before.mean * rows + sum(counts)) / (rows + len(counts))
    return Lengths(min(before.min, new.min), mean, max(before.max, new.max))
