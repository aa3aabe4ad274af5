"""The pipeline's stages on one question after another, with the seconds that each takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING

from bioqa.pipeline.pipeline import Pipeline
from bioqa.types import Article, Question

if TYPE_CHECKING:
    from bioqa.index.reader import Index
    from bioqa.rerank.reranker import Reranker

WARM_UP = 50
"""Searches before timing starts: Java compiles what runs often."""


@dataclass(frozen=True, slots=True)
class FirstStageRecord:
    """The first stage's result for a question: (passage id, first-stage score), best first, and the seconds of the search."""

    id: str
    seconds: float
    passages: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class RerankRecord:
    """A question's candidates in the first stage's order: (passage id, first-stage score, logit).

    ``seconds`` is the time of reading the candidates and scoring them, ``texts`` the number of texts scored (a long article has
    several), ``cut`` the number of candidates that were not read in full.
    """

    id: str
    seconds: float
    texts: int
    cut: int
    passages: list[tuple[str, float, float]]


@dataclass(frozen=True, slots=True)
class GoldRecord:
    """Scores of a question's relevant passages that are not among its candidates: (passage id, logit).

    ``absent`` are relevant passages that are not in the collection. ``negatives`` are the ids of the hard negatives: the best
    candidates that are not relevant and, in the normal form of texts, neither contain a relevant passage nor are contained in one.
    """

    id: str
    missed: list[tuple[str, float]]
    absent: list[str]
    negatives: list[str]


def time_first_stage(pipeline: Pipeline, questions: Sequence[Question]) -> Iterator[FirstStageRecord]:
    """Time the first stage on one question after another; the pipeline has no reranker."""
    for question in islice(cycle(questions), WARM_UP):
        pipeline.rank(question)
    for question in questions:
        ranked = pipeline.rank(question)
        passages = [(one.id, round(one.score, 6)) for one in ranked.candidates]
        yield FirstStageRecord(question.id, round(ranked.timings["retrieve"], 7), passages)


def time_reranking(pipeline: Pipeline, questions: Sequence[Question]) -> Iterator[RerankRecord]:
    """Time the reranking of one question's candidates after another.

    The pipeline's ``top`` is the first stage's depth, so that equal scores keep its order.
    """
    for question in questions[:1]:
        pipeline.rank(question, replace(pipeline.options, top=1, rerank_depth=10))
    for question in questions:
        ranked = pipeline.rank(question)
        scored = sorted((one for one in ranked.candidates if one.logit is not None), key=lambda one: one.position)
        passages = [(one.id, round(one.first_stage_score, 6), round(one.logit or 0.0, 6)) for one in scored]
        seconds, cut = round(ranked.timings["rerank"], 6), ranked.coverage.truncated
        yield RerankRecord(question.id, seconds, ranked.windows, cut, passages)


def score_gold(
    index: "Index",
    reranker: "Reranker",
    questions: Sequence[Question],
    *,
    relevant: dict[str, set[str]],
    reranked: dict[str, RerankRecord],
    negatives: int,
) -> Iterator[GoldRecord]:
    """Score the relevant passages that are not among the candidates, and choose ``negatives`` hard negatives per relevant one."""
    from bioqa.pipeline.windows import score_articles

    for question in questions:
        candidates = [row[0] for row in reranked[question.id].passages]
        gold = {id: index.get(id) for id in sorted(relevant[question.id])}
        present = {id: article for id, article in gold.items() if article is not None}
        missed = [article for id, article in present.items() if id not in set(candidates)]
        scores = score_articles(reranker, question.body, missed)
        rows = zip(missed, scores.logits.tolist(), strict=True)
        others = [id for id in candidates if id not in gold]
        yield GoldRecord(
            question.id,
            [(article.id, round(logit, 6)) for article, logit in rows],
            [id for id, article in gold.items() if article is None],
            _hard_negatives(index, others, list(present.values()), negatives * len(present)),
        )


def _hard_negatives(index: "Index", candidates: Sequence[str], gold: Sequence[Article], count: int) -> list[str]:
    """The ids of the first ``count`` candidates that training too could take as negatives."""
    from bioqa.pairs.negatives import GoldFilter
    from bioqa.pairs.passage_pools import PassagePool
    from bioqa.pairs.question_groups import Passage, QuestionGroup

    group = QuestionGroup("", "", tuple(Passage(article.default_text(), article.id) for article in gold))
    filter = GoldFilter(group, PassagePool(()))
    chosen: list[str] = []
    for id in candidates:
        if len(chosen) == count:
            break
        article = index.get(id)
        passage = Passage(article.default_text() if article else "", id)
        if filter.allowed(passage):
            filter.use(passage)
            chosen.append(id)
    return chosen
