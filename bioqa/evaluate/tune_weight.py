"""The first-stage weight tuned on a grid, with cross-validation as in ``tune_bm25``.

The candidates of each question are scored once; every weight then ranks them anew. Weight 0 and the model's current weight are
always tried, and the gain is tested against both.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bioqa.errors import UsageError
from bioqa.evaluate.measures import check_measures, measure_runs
from bioqa.evaluate.significance import paired_test
from bioqa.evaluate.tune_bm25 import answerable, best_setting, split_folds
from bioqa.io.trec import Qrels
from bioqa.pipeline.answer import RankedCandidate
from bioqa.pipeline.combine import reweight
from bioqa.pipeline.pipeline import Pipeline
from bioqa.types import Question

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 1.6, 2.0)
"""The weights that are tried unless others are given."""


@dataclass(frozen=True, slots=True)
class WeightPoint:
    """A weight, and the mean of the measure over all questions."""

    weight: float
    mean: float


@dataclass(frozen=True, slots=True)
class WeightFold:
    """The weight chosen on the other folds, and the means over this fold's ``questions`` with it, with weight 0 and with the
    current weight.
    """

    questions: int
    weight: float
    held_out: float
    zero: float
    current: float


@dataclass(frozen=True, slots=True)
class WeightTuning:
    """The result: ``best`` is the weight to use.

    ``held_out``, ``zero`` and ``current`` are means over all questions: with the weights chosen on the other folds, with weight 0
    and with ``current_weight``. ``p_zero`` and ``p_current`` are the p-values of paired two-sided t-tests of ``held_out`` against
    the two.
    """

    measure: str
    questions: int
    seed: int
    grid: list[WeightPoint]
    folds: list[WeightFold]
    best: WeightPoint
    held_out: float
    zero: float
    p_zero: float
    current_weight: float
    current: float
    p_current: float


def tune_weight(
    pipeline: Pipeline,
    questions: Sequence[Question],
    qrels: Qrels,
    *,
    weights: Sequence[float] = WEIGHTS,
    measure: str = "ndcg@10",
    folds: int = 5,
    seed: int = 42,
    advance: Callable[[], object] = lambda: None,
) -> WeightTuning:
    """Choose the weight with the highest mean of a measure over the questions with a relevant article.

    ``advance`` is called after each question that was reranked.

    Raises:
        UsageError: an invalid argument, or a pipeline without a reranker.
        QuestionError: fewer questions with a relevant article than folds, or a question cannot be answered.
        ModelError: the reranker failed.
    """
    if pipeline.reranker is None:
        raise UsageError("A first-stage weight belongs to a reranker: give the pipeline one.")
    _check(weights, measure, folds)
    asked = answerable(questions, qrels, folds)
    pipeline.check_questions(asked)
    ranked = {}
    for question in asked:
        ranked[question.id] = pipeline.rank(question).candidates
        advance()
    current = pipeline.reranker.first_stage_weight
    return choose_weight(ranked, qrels, current, weights=weights, measure=measure, folds=folds, seed=seed)


def choose_weight(
    ranked: Mapping[str, Sequence[RankedCandidate]],
    qrels: Qrels,
    current: float,
    *,
    weights: Sequence[float] = WEIGHTS,
    measure: str = "ndcg@10",
    folds: int = 5,
    seed: int = 42,
) -> WeightTuning:
    """What ``tune_weight`` returns, for candidates ranked with any weight: question id → its candidates.

    Of equally good weights ``current`` is preferred, then the lowest.

    Raises:
        UsageError: an invalid argument.
    """
    _check(weights, measure, folds)
    judged = {id: qrels[id] for id in ranked}
    tried = sorted({0.0, current, *weights})
    values = {weight: _values(ranked, judged, weight, measure) for weight in tried}
    preferred = sorted(tried, key=lambda weight: (weight != current, weight))
    grid = [WeightPoint(weight, statistics.fmean(values[weight].values())) for weight in tried]
    held_out: dict[str, float] = {}
    found = []
    for part in split_folds(list(judged), folds, seed):
        weight = best_setting(preferred, values, [id for id in judged if id not in set(part)])
        held_out |= {id: values[weight][id] for id in part}
        means = [statistics.fmean(values[one][id] for id in part) for one in (weight, 0.0, current)]
        found.append(WeightFold(len(part), weight, *means))
    best = best_setting(preferred, values, list(judged))
    tuned = {id: held_out[id] for id in judged}
    return WeightTuning(
        measure=measure,
        questions=len(judged),
        seed=seed,
        grid=grid,
        folds=found,
        best=next(point for point in grid if point.weight == best),
        held_out=statistics.fmean(tuned.values()),
        zero=statistics.fmean(values[0.0].values()),
        p_zero=paired_test(values[0.0], tuned),
        current_weight=current,
        current=statistics.fmean(values[current].values()),
        p_current=paired_test(values[current], tuned),
    )


def _check(weights: Sequence[float], measure: str, folds: int) -> None:
    check_measures([measure])
    if folds < 2 or not weights:
        raise UsageError("Tuning needs at least 2 folds and at least 1 weight.")
    for weight in weights:
        if not 0 <= weight < math.inf:
            raise UsageError(f"A first-stage weight must be finite and at least 0, not {weight:g}.")


def _values(
    ranked: Mapping[str, Sequence[RankedCandidate]], qrels: Qrels, weight: float, measure: str
) -> dict[str, float]:
    """The measure of each question when its candidates are ranked with ``weight``."""
    run = {id: {one.id: one.score for one in reweight(candidates, weight)} for id, candidates in ranked.items()}
    return measure_runs(qrels, run, [measure])[measure]
