"""BM25's k1 and b for an index and a set of questions: a grid, with cross-validation to say what the choice is worth.

The questions are dealt into folds at random. For each fold the pair that is best on all the others is chosen, and measured on the
fold; the mean of these held-out values is what tuning can be expected to give on further questions of the kind. The best of the
whole grid on all questions is what to use, but its own value flatters.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from bioqa.errors import QuestionError, UsageError
from bioqa.evaluate.measures import check_measures, measure_runs
from bioqa.evaluate.significance import compare
from bioqa.io.trec import Qrels
from bioqa.retrieve.options import K1, B, SearchOptions
from bioqa.retrieve.retriever import Retriever
from bioqa.types import Question


@dataclass(frozen=True, slots=True)
class Point:
    """A pair of the grid and the mean of the measure over all questions."""

    k1: float
    b: float
    mean: float


@dataclass(frozen=True, slots=True)
class Fold:
    """The pair chosen on the other folds, and the means over this fold's ``questions`` with it and with the default."""

    questions: int
    k1: float
    b: float
    held_out: float
    default: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """The outcome: ``best`` is the pair to use; ``held_out`` and ``default`` are means over all questions, ``p`` of their paired
    two-sided t-test.
    """

    measure: str
    depth: int
    questions: int
    seed: int
    grid: list[Point]
    folds: list[Fold]
    best: Point
    held_out: float
    default: float
    p: float
    default_k1: float
    default_b: float


def tune_bm25(
    retriever: Retriever,
    questions: Sequence[Question],
    qrels: Qrels,
    *,
    k1s: Sequence[float],
    bs: Sequence[float],
    measure: str = "ndcg@10",
    depth: int = 100,
    folds: int = 5,
    seed: int = 42,
    advance: Callable[[], object] = lambda: None,
) -> Tuning:
    """Choose k1 and b among all pairs of ``k1s`` and ``bs`` by the mean of a measure over the questions that are judged.

    Raises:
        UsageError: an argument makes no sense.
        QuestionError: fewer judged questions than folds.
    """
    check_measures([measure])
    if folds < 2 or depth < 1 or not k1s or not bs:
        raise UsageError("Tuning needs 2 folds or more, a depth of 1 or more, and values of k1 and b.")
    asked = [one for one in questions if any(grade > 0 for grade in qrels.get(one.id, {}).values())]
    if len(asked) < folds:
        raise QuestionError(f"{len(asked)} questions have a relevant article; {folds} folds need {folds} or more.")
    judged = {one.id: qrels[one.id] for one in asked}
    values = {}
    for k1, b in dict.fromkeys([(K1, B), *product(k1s, bs)]):
        options = SearchOptions(k1=k1, b=b)
        values[k1, b] = _values(retriever, options, asked, judged, measure, depth)
        advance()
    default = values[K1, B]
    pairs = list(product(k1s, bs))
    grid = [Point(k1, b, statistics.fmean(values[k1, b].values())) for k1, b in pairs]
    held_out: dict[str, float] = {}
    found = []
    for part in _deal([one.id for one in asked], folds, seed):
        k1, b = _best(pairs, values, [id for id in judged if id not in set(part)])
        held_out |= {id: values[k1, b][id] for id in part}
        means = [statistics.fmean(of[id] for id in part) for of in (values[k1, b], default)]
        found.append(Fold(len(part), k1, b, *means))
    best = _best(pairs, values, list(judged))
    return Tuning(
        measure=measure,
        depth=depth,
        questions=len(asked),
        seed=seed,
        grid=grid,
        folds=found,
        best=next(point for point in grid if (point.k1, point.b) == best),
        held_out=statistics.fmean(held_out.values()),
        default=statistics.fmean(default.values()),
        p=float(compare(default, {id: held_out[id] for id in default})),
        default_k1=K1,
        default_b=B,
    )


def _values(  # noqa: PLR0917
    retriever: Retriever, options: SearchOptions, questions: Sequence[Question], qrels: Qrels, measure: str, depth: int
) -> dict[str, float]:
    """The measure of each question."""
    found = retriever.search_many([one.body for one in questions], depth, options)
    run = {one.id: {hit.id: hit.score for hit in hits} for one, hits in zip(questions, found, strict=True)}
    return measure_runs(qrels, run, [measure])[measure]


def _deal(ids: Sequence[str], folds: int, seed: int) -> list[list[str]]:
    """The ids dealt at random into as many parts, of sizes that differ by one at most."""
    order = sorted(ids)
    random.Random(seed).shuffle(order)
    return [order[place::folds] for place in range(folds)]


def _best(
    pairs: Sequence[tuple[float, float]], values: Mapping[tuple[float, float], Mapping[str, float]], ids: Sequence[str]
) -> tuple[float, float]:
    """The pair with the highest mean over ``ids``; the first of equal ones."""
    return max(pairs, key=lambda pair: statistics.fmean(values[pair][id] for id in ids))
