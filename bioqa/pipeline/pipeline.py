"""Retrieve, rerank, combine, highlight: the only place where candidates become a ranking."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from bioqa.corpus.questions import check_question
from bioqa.errors import QuestionError
from bioqa.pipeline.answer import Answer, Ranked, RankedCandidate
from bioqa.pipeline.combine import rank
from bioqa.pipeline.options import PipelineOptions
from bioqa.pipeline.rerank_run import RunPlan, question_groups
from bioqa.retrieve.retriever import Retriever
from bioqa.types import Article, Candidate, Hit, Question, Snippet

if TYPE_CHECKING:
    from bioqa.pipeline.windows import ArticleScores
    from bioqa.rerank.reranker import Reranker

DEPTH_CPU, DEPTH_GPU = 50, 100
BATCH = 64
"""Questions searched at a time where nothing is reranked."""
GROUP = 8
"""Batches of candidates of a run that are scored together, so that those of several questions fill them; what a kill can lose."""
PACKED = 10
"""How many times as many pairs are in a batch of the engine gpu, which is measured in tokens."""


class Pipeline:
    """Candidates of ``retriever``, reordered by ``reranker`` (None: the first stage alone). Safe to use from several threads.

    ``options`` are those of every question, unless a call brings its own.

    Raises:
        UsageError: the retriever does not support an option.
    """

    def __init__(
        self, retriever: Retriever, reranker: "Reranker | None" = None, options: PipelineOptions | None = None
    ) -> None:
        self.retriever = retriever
        self.reranker = reranker
        self.options = options or PipelineOptions()
        self._check(self.options)

    def answer(self, question: str | Question, options: PipelineOptions | None = None) -> Answer:
        """The best articles for the question, each with its answer sentences.

        Raises:
            QuestionError: the question is empty, longer than 1,000 words, or leaves the reranker no room for articles.
            UsageError: the retriever does not support an option.
            ModelError: the reranker fails.
        """
        asked = question if isinstance(question, Question) else Question("question", question)
        options = self._options(options)
        body = check_question(asked.body)
        ranked, candidates, read = self._ranked(asked, body, options)
        best = ranked.candidates[: options.top]
        started = time.perf_counter()
        articles = self._articles(candidates, [one.place for one in best], read)
        snippets = self._highlight(body, articles, options.sentences)
        explanations = [
            self.retriever.explain(body, candidates[one.place], options.search) if options.explain else ""
            for one in best
        ]
        hits = tuple(
            Hit(number, article, one.score, one.first_stage_score, one.logit, one.probability, own, explanation)
            for number, (one, article, own, explanation) in enumerate(
                zip(best, articles, snippets, explanations, strict=True), start=1
            )
        )
        filtered = bool(options.search.filters)
        return Answer(
            question=asked,
            hits=hits,
            reranker=self.reranker.name if self.reranker else None,
            first_stage_weight=self._weight(options) if self.reranker else None,
            timings={**ranked.timings, "highlight": time.perf_counter() - started},
            coverage=ranked.coverage,
            missing_fields=tuple(self.retriever.missing_field_counts(body, options.search)) if filtered else (),
            unknown_filter_values=tuple(self.retriever.unknown_filter_values(options.search)) if filtered else (),
            options=replace(options, rerank_depth=self.rerank_depth(options)),
            index=self.retriever.snapshot(),
        )

    def rank(self, question: Question, options: PipelineOptions | None = None) -> Ranked:
        """The ranking of one question, all its candidates: as many as are wanted or reranked, whichever is more."""
        return self._ranked(question, check_question(question.body), self._options(options))[0]

    def run(self, questions: Iterable[Question], options: PipelineOptions | None = None) -> Iterator[Ranked]:
        """The ranking of each question, as a run file wants it: no articles, no answer sentences."""
        options = self._options(options)
        if self.reranker is None:
            yield from self._run_first_stage(iter(questions), options)
            return
        for question in questions:
            ranked, _, _ = self._ranked(question, check_question(question.body), options)
            yield replace(ranked, candidates=ranked.candidates[: options.top])

    def rerank(
        self, plan: RunPlan, done: Collection[str] = (), options: PipelineOptions | None = None
    ) -> Iterator[Ranked]:
        """The candidates of a run reranked, question by question in its order, but for the questions ``done`` before.

        Candidates that the corpus does not hold are dropped and counted.

        Raises:
            QuestionError: a question leaves the reranker no room for articles; known before anything is scored.
            ModelError: the reranker fails.
        """
        options = self._options(options)
        reranker = self.reranker
        assert reranker is not None
        self.check_lengths(plan.questions.items())
        pairs = reranker.batch_size * (PACKED if reranker.engine == "gpu" else 1)
        for group in question_groups(plan, GROUP * pairs, done):
            yield from self._rerank_group(plan, group, options)

    def check_lengths(self, questions: Iterable[tuple[str, str]]) -> None:
        """Raise QuestionError, with its id, for the first (id, question) that leaves the reranker too little room for articles."""
        if self.reranker is None:
            return
        for id, question in questions:
            try:
                self.reranker.max_passage_tokens(question)
            except QuestionError as problem:
                raise QuestionError(f"Question {id}: {problem}") from None

    def check_questions(self, questions: Sequence[Question], options: PipelineOptions | None = None) -> None:
        """Raise QuestionError, with its id, for the first question that cannot be answered, before anything is searched."""
        search = self._options(options).search
        for question in questions:
            try:
                self.retriever.check_question(question.body, search)
            except QuestionError as problem:
                raise QuestionError(f"Question {question.id}: {problem}") from problem
        self.check_lengths((question.id, question.body) for question in questions)

    def rerank_depth(self, options: PipelineOptions) -> int:
        """How many candidates are reranked under these options; 0 without a reranker."""
        if self.reranker is None:
            return 0
        if options.rerank_depth is not None:
            return options.rerank_depth
        return max(DEPTH_CPU if self.reranker.device == "cpu" else DEPTH_GPU, options.top)

    @property
    def first_stage_weight(self) -> float:
        """The weight of the first-stage score in force, 0 without a reranker."""
        return self._weight(self.options) if self.reranker else 0.0

    def _options(self, options: PipelineOptions | None) -> PipelineOptions:
        if options is None:
            return self.options
        self._check(options)
        return options

    def _check(self, options: PipelineOptions) -> None:
        self.retriever.check_options(options.search)

    def _weight(self, options: PipelineOptions) -> float:
        if options.first_stage_weight is not None or self.reranker is None:
            return options.first_stage_weight or 0.0
        return self.reranker.first_stage_weight

    def _run_first_stage(self, questions: Iterator[Question], options: PipelineOptions) -> Iterator[Ranked]:
        """``run`` where nothing is reranked: many questions at a time, on all cores."""
        while batch := list(islice(questions, BATCH)):
            bodies = [check_question(question.body) for question in batch]
            found = self.retriever.search_many(bodies, options.top, options.search)
            for question, candidates in zip(batch, found, strict=True):
                yield Ranked(question, rank(_scored(candidates)))

    def _ranked(
        self, question: Question, body: str, options: PipelineOptions
    ) -> tuple[Ranked, Sequence[Candidate], list[Article]]:
        """The ranking of one question, its candidates in the first stage's order, and the articles of those that were reranked."""
        started = time.perf_counter()
        depth = self.rerank_depth(options)
        candidates = self.retriever.search(body, max(options.top, depth), options.search)
        timings = {"retrieve": time.perf_counter() - started}
        if self.reranker is None:
            return Ranked(question, rank(_scored(candidates)), timings=timings), candidates, []
        started = time.perf_counter()
        articles = self.retriever.articles(candidates[:depth])
        (scores,) = self._score([(body, articles)], options)
        ordered = self._order(_scored(candidates), scores, options)
        timings["rerank"] = time.perf_counter() - started
        windows = int(scores.windows.sum())
        return Ranked(question, ordered, scores.coverage, timings, windows=windows), candidates, articles

    def _rerank_group(
        self, plan: RunPlan, group: list[tuple[str, list[tuple[str, float]]]], options: PipelineOptions
    ) -> Iterator[Ranked]:
        """Rerank some questions of a run together, so that their candidates fill batches."""
        depth = plan.depth
        found = iter(self.retriever.get_many([id for _, candidates in group for id, _ in candidates[:depth]]))
        kept: list[list[tuple[str, float]]] = []
        asked: list[tuple[str, list[Article]]] = []
        for question, candidates in group:
            head = [(candidate, next(found)) for candidate in candidates[:depth]]
            present = [(candidate, article) for candidate, article in head if article is not None]
            kept.append([candidate for candidate, _ in present] + candidates[depth:])
            asked.append((plan.questions[question], [article for _, article in present]))
        scored = self._score(asked, options)
        for (id, candidates), own, (body, _), scores in zip(group, kept, asked, scored, strict=True):
            ordered = self._order(own, scores, options)
            yield Ranked(Question(id, body), ordered, scores.coverage, missing=len(candidates) - len(own))

    def _score(self, asked: Sequence[tuple[str, Sequence[Article]]], options: PipelineOptions) -> "list[ArticleScores]":
        from bioqa.pipeline.windows import score_questions

        assert self.reranker is not None
        return score_questions(self.reranker, asked, aggregation=options.aggregation, overlap=options.overlap)

    def _order(
        self, candidates: Sequence[tuple[str, float]], scores: "ArticleScores", options: PipelineOptions
    ) -> list[RankedCandidate]:
        return rank(candidates, scores.logits.tolist(), scores.probabilities.tolist(), self._weight(options))

    def _articles(
        self, candidates: Sequence[Candidate], places: Sequence[int], read: Sequence[Article]
    ) -> list[Article]:
        """The articles of the candidates at ``places``; the first of all candidates were ``read`` before."""
        further = [place for place in places if place >= len(read)]
        found = dict(zip(further, self.retriever.articles([candidates[place] for place in further]), strict=True))
        return [found[place] if place in found else read[place] for place in places]

    def _highlight(self, question: str, articles: Sequence[Article], sentences: int) -> list[tuple[Snippet, ...]]:
        from bioqa.pipeline.highlight import best_sentences

        return best_sentences(self.reranker, question, articles, per_article=sentences)


def _scored(candidates: Sequence[Candidate]) -> list[tuple[str, float]]:
    return [(candidate.id, candidate.score) for candidate in candidates]
