"""BM25's k1 and b tuned on a grid, with cross-validation to estimate the gain.

The questions are split into folds at random. For each fold, the pair that is best on all other folds is chosen and measured on
this one; the mean of these held-out values is what tuning can be expected to give on similar questions. The best pair on all
questions is the one to use, but its own value is optimistic.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from bioqa.errors import QuestionError, UsageError
from bioqa.evaluate.measures import check_measures, measure_runs
from bioqa.evaluate.ranking import mean
from bioqa.evaluate.significance import paired_test
from bioqa.index.filters import Filters
from bioqa.io.trec import Qrels
from bioqa.retrieve.options import K1, B, SearchOptions
from bioqa.retrieve.retriever import Retriever
from bioqa.types import Question

_S = TypeVar("_S")


@dataclass(frozen=True, slots=True)
class GridPoint:
    """A pair of k1 and b, and the mean of the measure over all questions."""

    k1: float
    b: float
    mean: float


@dataclass(frozen=True, slots=True)
class TuningFold:
    """The pair chosen on the other folds, and the means over this fold's ``questions`` with it and with the default pair."""

    questions: int
    k1: float
    b: float
    held_out: float
    default: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result: ``best`` is the pair to use; ``held_out`` and ``default`` are means over all questions, ``p`` of their paired
    two-sided t-test.
    """

    measure: str
    top: int
    questions: int
    seed: int
    grid: list[GridPoint]
    folds: list[TuningFold]
    best: GridPoint
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
    top: int = 100,
    folds: int = 5,
    seed: int = 42,
    filters: Filters | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Tuning:
    """Choose the pair of ``k1s`` and ``bs`` with the highest mean of a measure over the questions with a relevant article.

    Only articles that pass the ``filters`` are found.

    Raises:
        UsageError: an invalid argument.
        QuestionError: fewer questions with a relevant article than folds.
    """
    check_measures([measure])
    if folds < 2 or top < 1 or not k1s or not bs:
        raise UsageError("Tuning needs at least 2 folds, at least 1 result per question, and values of k1 and b.")
    asked = answerable(questions, qrels, folds)
    judged = {one.id: qrels[one.id] for one in asked}
    values = {}
    for k1, b in dict.fromkeys([(K1, B), *product(k1s, bs)]):
        options = SearchOptions(k1=k1, b=b, filters=filters or Filters())
        values[k1, b] = _values(retriever, options, asked, judged, measure, top)
        advance()
    default = values[K1, B]
    pairs = list(product(k1s, bs))
    grid = [GridPoint(k1, b, mean(measure, values[k1, b].values())) for k1, b in pairs]
    held_out: dict[str, float] = {}
    found = []
    for part in split_folds([one.id for one in asked], folds, seed):
        k1, b = best_setting(pairs, values, [id for id in judged if id not in set(part)])
        held_out |= {id: values[k1, b][id] for id in part}
        means = [mean(measure, (of[id] for id in part)) for of in (values[k1, b], default)]
        found.append(TuningFold(len(part), k1, b, *means))
    best = best_setting(pairs, values, list(judged))
    return Tuning(
        measure=measure,
        top=top,
        questions=len(asked),
        seed=seed,
        grid=grid,
        folds=found,
        best=next(point for point in grid if (point.k1, point.b) == best),
        held_out=mean(measure, held_out.values()),
        default=mean(measure, default.values()),
        p=float(paired_test(default, {id: held_out[id] for id in default})),
        default_k1=K1,
        default_b=B,
    )


def answerable(questions: Sequence[Question], qrels: Qrels, folds: int) -> list[Question]:
    """The questions with a relevant article. Raises QuestionError if there are fewer than ``folds``."""
    asked = [one for one in questions if any(grade > 0 for grade in qrels.get(one.id, {}).values())]
    if len(asked) < folds:
        raise QuestionError(
            f"{folds} folds need at least {folds} questions with a relevant article; there are {len(asked)}."
        )
    return asked


def _values(  # noqa: PLR0917
    retriever: Retriever, options: SearchOptions, questions: Sequence[Question], qrels: Qrels, measure: str, top: int
) -> dict[str, float]:
    """The measure of each question."""
    found = retriever.search_many([one.body for one in questions], top, options)
    run = {one.id: {hit.id: hit.score for hit in hits} for one, hits in zip(questions, found, strict=True)}
    return measure_runs(qrels, run, [measure])[measure]


def split_folds(ids: Sequence[str], folds: int, seed: int) -> list[list[str]]:
    """The ids split at random into ``folds`` parts whose sizes differ by at most one."""
    order = sorted(ids)
    random.Random(seed).shuffle(order)
    return [order[place::folds] for place in range(folds)]


def best_setting(settings: Sequence[_S], values: Mapping[_S, Mapping[str, float]], ids: Sequence[str]) -> _S:
    """The setting with the highest mean of its values over ``ids``; the first of equally good ones."""
    return max(settings, key=lambda setting: statistics.fmean(values[setting][id] for id in ids))
