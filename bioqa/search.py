"""Retrieve, rerank, find the answer sentences: the two stages as one object."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from bioqa.bioasq.questions import check_question
from bioqa.errors import UsageError
from bioqa.rerank.long import Coverage, check_long
from bioqa.types import Article, Candidate, Hit, Question

if TYPE_CHECKING:
    from bioqa.rerank import Reranker

DEPTH_CPU, DEPTH_GPU = 50, 100
BATCH = 64
"""Questions searched at a time where nothing is reranked."""


class FirstStage(Protocol):
    """What the engine needs of a first stage; ``Index`` and ``MemoryIndex`` have it."""

    def search(self, question: str, k: int = 10) -> Sequence[Candidate]:
        """The ``k`` best articles, best first."""
        ...

    def search_many(self, questions: Sequence[str], k: int = 10) -> Sequence[Sequence[Candidate]]:
        """What ``search`` gives for each question."""
        ...

    def explain(self, question: str, candidate: Candidate) -> str:
        """How a candidate's score came about."""
        ...

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The articles of candidates that this engine returned."""
        ...


@dataclass(frozen=True, slots=True)
class _Ranked:
    candidate: Candidate
    article: Article
    score: float
    logit: float | None = None
    probability: float | None = None


class SearchEngine:
    """BM25 candidates of ``index``, reordered by ``reranker`` (None: BM25 alone).

    ``depth`` is how many candidates are reranked: 50 on CPU and 100 on GPU where it is None, and never fewer than the results
    asked for. ``sentences`` is how many answer sentences each hit gets; ``explain`` has each hit say how its BM25 score came
    about. ``long`` and ``overlap`` say how articles longer than the reranker reads are scored (``rerank.long.LONG``).
    Articles are ranked by logit + ``bm25_weight`` × BM25 score; None takes the weight that the reranker's folder names.
    ``coverage`` counts the articles reranked so far, and the text of them that was not read.
    """

    def __init__(
        self,
        index: FirstStage,
        reranker: "Reranker | None" = None,
        *,
        depth: int | None = None,
        sentences: int = 2,
        explain: bool = False,
        long: str = "max",
        overlap: int = 0,
        bm25_weight: float | None = None,
    ) -> None:
        check_long(long, overlap)
        if depth is not None and depth < 1:
            raise UsageError(f"The rerank depth must be 1 or more, not {depth}.")
        self.index = index
        self.reranker = reranker
        self.depth = depth
        self.sentences = sentences
        self.explain = explain
        self.long = long
        self.overlap = overlap
        self.coverage = Coverage()
        if bm25_weight is not None and not 0 <= bm25_weight < float("inf"):
            raise UsageError(f"The weight of BM25 must be 0 or more, not {bm25_weight:g}.")
        self.bm25_weight = bm25_weight if bm25_weight is not None else reranker.bm25_weight if reranker else 0.0

    def search(self, question: str, top: int = 10) -> list[Hit]:
        """The ``top`` best articles for the question, best first, each with its answer sentences.

        Raises:
            QuestionError: the question is empty or longer than 1,000 words.
            UsageError: ``top`` is less than 1 or more than the rerank depth that was set.
        """
        question = check_question(question)
        ranked = self._rank(question, top)
        return self._hits(question, ranked)

    def run(self, questions: Iterable[Question], top: int = 10) -> Iterator[tuple[Question, list[tuple[str, float]]]]:
        """For each question its (article id, score) results, best first, as a run file wants them: no answer sentences."""
        self._check_top(top)
        if self.reranker is None:
            yield from self._run_bm25(iter(questions), top)
            return
        for question in questions:
            ranked = self._rank(check_question(question.body), top)
            yield question, [(one.candidate.id, one.score) for one in ranked]

    def _run_bm25(self, questions: Iterator[Question], top: int) -> Iterator[tuple[Question, list[tuple[str, float]]]]:
        """``run`` where nothing is reranked: many questions at a time, on all cores."""
        while batch := list(islice(questions, BATCH)):
            found = self.index.search_many([check_question(question.body) for question in batch], top)
            for question, candidates in zip(batch, found, strict=True):
                yield question, [(candidate.id, candidate.score) for candidate in candidates]

    def _check_top(self, top: int) -> None:
        if top < 1:
            raise UsageError(f"The number of results must be 1 or more, not {top}.")
        if self.reranker is not None and self.depth is not None and top > self.depth:
            raise UsageError(
                f"{top} results were asked for but only {self.depth} candidates are reranked. Raise the rerank depth, ask for "
                "fewer results, or search without a reranker."
            )

    def rerank_depth(self, top: int) -> int:
        """How many candidates are reranked when ``top`` results are asked for."""
        if self.depth is not None or self.reranker is None:
            return self.depth or top
        return max(DEPTH_CPU if self.reranker.device == "cpu" else DEPTH_GPU, top)

    def _rank(self, question: str, top: int) -> list[_Ranked]:
        self._check_top(top)
        if self.reranker is None:
            candidates = self.index.search(question, top)
            found = zip(candidates, self.index.articles(candidates), strict=True)
            return [_Ranked(candidate, article, candidate.score) for candidate, article in found]
        from bioqa.rerank.windows import score_articles

        candidates = self.index.search(question, self.rerank_depth(top))
        articles = self.index.articles(candidates)
        scores = score_articles(self.reranker, question, articles, long=self.long, overlap=self.overlap)
        self.coverage.add(scores)
        ranked = [
            _Ranked(candidate, article, logit + self.bm25_weight * candidate.score, logit, probability)
            for candidate, article, logit, probability in zip(
                candidates, articles, scores.logits.tolist(), scores.probabilities.tolist(), strict=True
            )
        ]
        return sorted(ranked, key=lambda one: -one.score)[:top]

    def _hits(self, question: str, ranked: Sequence[_Ranked]) -> list[Hit]:
        from bioqa.rerank import best_sentences

        articles = [one.article for one in ranked]
        snippets = best_sentences(self.reranker, question, articles, per_article=self.sentences)
        return [
            Hit(
                rank=rank,
                article=one.article,
                score=one.score,
                bm25=one.candidate.score,
                logit=one.logit,
                probability=one.probability,
                snippets=best,
                explanation=self.index.explain(question, one.candidate) if self.explain else "",
            )
            for rank, (one, best) in enumerate(zip(ranked, snippets, strict=True), start=1)
        ]
