"""Retrieve, rerank, combine, highlight: the only place where candidates become a ranking."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from types import NoneType
from typing import TYPE_CHECKING

from bioqa.arguments import check_items, check_type, shown
from bioqa.corpus.questions import check_question
from bioqa.corpus.sentences import sentences
from bioqa.errors import QuestionError, UsageError
from bioqa.pipeline.answer import Answer, Ranked, RankedCandidate
from bioqa.pipeline.combine import default_weight, rank
from bioqa.pipeline.highlight import best_sentences
from bioqa.pipeline.options import PipelineOptions
from bioqa.pipeline.rerank_run import RunPlan, question_groups
from bioqa.retrieve.retriever import Retriever
from bioqa.types import Article, Candidate, Hit, Question, Snippet

if TYPE_CHECKING:
    from bioqa.pipeline.windows import ArticleScores
    from bioqa.rerank.reranker import Reranker

DEPTH_CPU, DEPTH_GPU = 50, 100
TITLE_WORDS = 100
"""Words of a title that are read as a question."""
BATCH = 64
"""Questions searched at a time when nothing is reranked."""
GROUP = 8
"""Batches of a run's candidates scored at a time: enough to fill batches across questions, few enough to lose little to a kill."""
PACKED = 10
"""How many times as many pairs fill a batch of the gpu engine, which is measured in tokens."""

_Ranking = tuple[Ranked, Sequence[Candidate], dict[int, Article]]


class Pipeline:
    """Searches with ``retriever`` and reranks with ``reranker`` (None: first stage only). Safe to use from several threads.

    ``options`` apply to every call that does not pass its own.

    Every method raises UsageError for an argument of the wrong type.

    Raises:
        UsageError: the retriever does not support an option, or an argument is of the wrong type.
    """

    def __init__(
        self, retriever: Retriever, reranker: "Reranker | None" = None, options: PipelineOptions | None = None
    ) -> None:
        if isinstance(retriever, type) or not isinstance(retriever, Retriever):
            raise UsageError(
                "retriever must be a BM25Retriever, a MemoryRetriever or another Retriever, not "
                f"{shown(retriever)}. To search an Index, wrap it in a BM25Retriever."
            )
        if isinstance(reranker, type) or not (reranker is None or hasattr(reranker, "score_pairs")):
            raise UsageError(
                f"reranker must be a Reranker or None, not {shown(reranker)}. Load one with Reranker(NAME)."
            )
        check_type("options", options, PipelineOptions, NoneType)
        self.retriever = retriever
        self.reranker = reranker
        self.options = options or PipelineOptions()
        self.retriever.check_options(self.options.search)

    def answer(self, question: str | Question, options: PipelineOptions | None = None) -> Answer:
        """The best articles for the question, each with its answer sentences.

        Raises:
            QuestionError: the question is empty, has more than 1,000 words, is not a valid query, or leaves the reranker too few
                tokens for articles.
            UsageError: the retriever does not support an option.
            ModelError: the reranker failed.
        """
        check_type("question", question, str, Question)
        asked = question if isinstance(question, Question) else Question("question", question)
        options = self.resolve_options(options)
        body = check_question(asked.body)
        ranking = self._rank(asked, body, options)
        answer = self._answer(asked, body, options, ranking)
        if not options.explain:
            return answer
        candidates = {candidate.id: candidate for candidate in ranking[1]}
        explained = [
            replace(hit, explanation=self.retriever.explain(body, candidates[hit.article.id], options.search))
            for hit in answer.hits
        ]
        return replace(answer, hits=tuple(explained))

    def similar(self, article: Article, options: PipelineOptions | None = None) -> Answer:
        """The articles most similar to one, without itself: found by its terms, reranked with its title as the question.

        Each has the sentences closest to that title. Without a title, the first sentence of the abstract takes its place.
        ``missing_fields`` of the answer counts articles of the whole index.

        Raises:
            QuestionError: the article has neither title nor abstract, or its title leaves the reranker too few tokens.
            UsageError: the retriever does not support an option, or an option is for questions.
            ModelError: the reranker failed.
        """
        check_type("article", article, Article)
        options = self.resolve_options(options)
        if options.explain or options.facets:
            raise UsageError("Scores are explained and facets counted for questions, not for similar articles.")
        body = _title_question(article)
        asked = Question(article.id, body)
        started = time.perf_counter()
        candidates = self.retriever.similar(article, _depth(options), options.search)
        ranking = self._rank_found(asked, body, options, candidates, time.perf_counter() - started)
        return self._answer(asked, body, options, ranking, similar=True)

    def _answer(
        self,
        asked: Question,
        body: str,
        options: PipelineOptions,
        ranking: _Ranking,
        *,
        similar: bool = False,
    ) -> Answer:
        """The answer with the best of the ranked candidates: articles for a question, or those similar to one.

        The reranker's threshold says whether an article answers a question, and nothing about similarity.
        """
        ranked, candidates, articles = ranking
        threshold = self.reranker.threshold if self.reranker and not similar else None
        best = ranked.candidates[options.offset : options.offset + options.top]
        started = time.perf_counter()
        unread = [one.position for one in best if one.position not in articles]
        if unread:  # a slice, as the retriever may keep with it what its candidates were found in
            rest = self.retriever.articles(candidates[min(unread) : max(unread) + 1])
            articles.update(enumerate(rest, start=min(unread)))
        found = [articles[one.position] for one in best]
        snippets = best_sentences(self.reranker, body, found, per_article=options.sentences)
        hits = [
            self._hit(number, *parts, threshold)
            for number, parts in enumerate(zip(best, found, snippets, strict=True), start=options.offset + 1)
        ]
        found_by = getattr(candidates, "found", None)
        if found_by:
            hits = [
                replace(
                    hit, first_stage={name: at for name, column in found_by.items() if (at := column[one.position])}
                )
                for hit, one in zip(hits, best, strict=True)
            ]
        timings = {**ranked.timings, "highlight": time.perf_counter() - started}
        facets = {}
        if options.facets:
            started = time.perf_counter()
            facets = self.retriever.facets(body, options.facets, options.search, options.facet_values)
            timings["facets"] = time.perf_counter() - started
        return Answer(
            question=asked,
            hits=tuple(hits),
            reranker=self.reranker.name if self.reranker else None,
            timings=timings,
            coverage=ranked.coverage,
            missing_fields=tuple(self.retriever.missing_field_counts(None if similar else body, options.search)),
            unknown_filter_values=tuple(self.retriever.unknown_filter_values(options.search)),
            options=options,
            index=self.retriever.snapshot(),
            threshold=threshold,
            facets=facets,
        )

    def rank(self, question: Question, options: PipelineOptions | None = None) -> Ranked:
        """The ranking of all candidates of one question: ``offset + top`` or ``rerank_depth`` of them, whichever is more.

        Raises what ``answer`` raises.
        """
        check_type("question", question, Question)
        return self._rank(question, check_question(question.body), self.resolve_options(options))[0]

    def run(self, questions: Iterable[Question], options: PipelineOptions | None = None) -> Iterator[Ranked]:
        """The ``top`` candidates of each question, in the order of the questions; the ``offset`` is ignored.

        Raises what ``answer`` raises.
        """
        options = self.resolve_options(options)
        checked = _each_question(questions)
        if self.reranker is None:
            return self._run_first_stage(checked, options)
        return self._run_reranked(checked, options)

    def rerank(
        self, plan: RunPlan, done: Collection[str] = (), options: PipelineOptions | None = None
    ) -> Iterator[Ranked]:
        """Rerank the questions of a run, in its order, except those whose ids are in ``done``.

        The first ``plan.depth`` candidates of each question are reranked; those that the corpus does not have are dropped and
        counted. The others follow in the run's order. ``top`` and ``rerank_depth`` of the options are ignored.

        Raises:
            QuestionError: a question leaves the reranker too few tokens for articles; raised before anything is scored.
            UsageError: there is no reranker.
            ModelError: the reranker failed.
        """
        check_type("plan", plan, RunPlan)
        done = frozenset(check_items("done", done, str))
        options = self.resolve_options(options)
        if self.reranker is None:
            raise UsageError("Reranking a run needs a reranker.")
        self._check_lengths(plan.questions.items())
        pairs = self.reranker.batch_size * (PACKED if self.reranker.engine == "gpu" else 1)
        groups = question_groups(plan, GROUP * pairs, done)
        return chain.from_iterable(self._rerank_group(plan, group, options) for group in groups)

    def check_questions(self, questions: Sequence[Question], options: PipelineOptions | None = None) -> None:
        """Check that every question can be answered, without searching.

        Raises:
            QuestionError: a question cannot be answered; the message names its id.
        """
        questions = check_items("questions", questions, Question)
        search = self.resolve_options(options).search
        for question in questions:
            try:
                self.retriever.check_question(question.body, search)
            except QuestionError as problem:
                raise QuestionError(f"Question {question.id}: {problem}") from problem
        self._check_lengths((question.id, question.body) for question in questions)

    def resolve_options(self, options: PipelineOptions | None = None) -> PipelineOptions:
        """The options in effect: ``options``, or the pipeline's own, with the reranker's defaults filled in.

        ``rerank_depth`` and ``first_stage_weight`` are None without a reranker, and numbers with one.

        Raises:
            UsageError: the retriever does not support an option.
        """
        check_type("options", options, PipelineOptions, NoneType)
        if options is None:
            options = self.options
        else:
            self.retriever.check_options(options.search)
        if self.reranker is None:
            return replace(options, rerank_depth=None, first_stage_weight=None)
        depth, weight = options.rerank_depth, options.first_stage_weight
        if depth is None:
            depth = max(DEPTH_CPU if self.reranker.device == "cpu" else DEPTH_GPU, options.top)
        if weight is None:
            weight = default_weight(
                self.retriever.scale, self.reranker.first_stage_weight, self.reranker.first_stage_weights
            )
        return replace(options, rerank_depth=depth, first_stage_weight=weight)

    def _check_lengths(self, questions: Iterable[tuple[str, str]]) -> None:
        """Raise QuestionError for the first (id, question) that leaves the reranker too few tokens for articles."""
        if self.reranker is None:
            return
        for id, question in questions:
            try:
                self.reranker.max_passage_tokens(question)
            except QuestionError as problem:
                raise QuestionError(f"Question {id}: {problem}") from problem

    def _rank(self, question: Question, body: str, options: PipelineOptions) -> _Ranking:
        """The ranking of one question, its candidates in the first stage's order, and the reranked articles by position there."""
        started = time.perf_counter()
        candidates = self.retriever.search(body, _depth(options), options.search)
        return self._rank_found(question, body, options, candidates, time.perf_counter() - started)

    def _rank_found(
        self, question: Question, body: str, options: PipelineOptions, candidates: Sequence[Candidate], seconds: float
    ) -> _Ranking:
        """``_rank`` of candidates that the first stage found in that many seconds."""
        timings = {"retrieve": seconds}
        if self.reranker is None:
            return Ranked(question, rank(_scored(candidates)), timings=timings), candidates, {}
        started = time.perf_counter()
        depth = options.rerank_depth or 0
        articles = self.retriever.articles(candidates[:depth])
        (scores,) = self._score([(body, articles)], options)
        ranked = self._ranked(question, _scored(candidates), scores, options)
        timings["rerank"] = time.perf_counter() - started
        return replace(ranked, timings=timings), candidates, dict(enumerate(articles))

    def _hit(
        self,
        number: int,
        one: RankedCandidate,
        article: Article,
        snippets: tuple[Snippet, ...],
        threshold: float | None,
    ) -> Hit:
        """A candidate as a hit, with its score on the model's own scale and whether that reaches the threshold."""
        hit = Hit(
            number,
            article,
            one.score,
            one.first_stage_score,
            one.logit,
            one.probability,
            snippets,
            first_stage_rank=one.position + 1,
        )
        if self.reranker is None or one.logit is None:
            return hit
        import numpy as np

        score = float(self.reranker.activate(np.array([one.logit], dtype=np.float32))[0])
        return replace(hit, reranker_score=score, relevant=None if threshold is None else score >= threshold)

    def _run_first_stage(self, questions: Iterator[Question], options: PipelineOptions) -> Iterator[Ranked]:
        """``run`` without a reranker: many questions at a time, on all cores."""
        while batch := list(islice(questions, BATCH)):
            bodies = [check_question(question.body) for question in batch]
            found = self.retriever.search_many(bodies, options.top, options.search)
            for question, candidates in zip(batch, found, strict=True):
                yield Ranked(question, rank(_scored(candidates)))

    def _run_reranked(self, questions: Iterator[Question], options: PipelineOptions) -> Iterator[Ranked]:
        """``run`` with a reranker."""
        for question in questions:
            ranked, _, _ = self._rank(question, check_question(question.body), options)
            yield replace(ranked, candidates=ranked.candidates[: options.top])

    def _rerank_group(
        self, plan: RunPlan, group: list[tuple[str, list[tuple[str, float]]]], options: PipelineOptions
    ) -> Iterator[Ranked]:
        """Rerank several questions of a run together, so that their candidates fill batches."""
        depth = plan.depth
        found = iter(self.retriever.get_many([id for _, candidates in group for id, _ in candidates[:depth]]))
        kept: list[list[tuple[str, float]]] = []
        asked: list[tuple[str, list[Article]]] = []
        for id, candidates in group:
            head = [(candidate, next(found)) for candidate in candidates[:depth]]
            present = [(candidate, article) for candidate, article in head if article is not None]
            kept.append([candidate for candidate, _ in present] + candidates[depth:])
            asked.append((plan.questions[id], [article for _, article in present]))
        scored = self._score(asked, options)
        for (id, candidates), own, (body, _), scores in zip(group, kept, asked, scored, strict=True):
            ranked = self._ranked(Question(id, body), own, scores, options)
            yield replace(ranked, missing=len(candidates) - len(own))

    def _score(self, asked: Sequence[tuple[str, Sequence[Article]]], options: PipelineOptions) -> "list[ArticleScores]":
        from bioqa.pipeline.windows import score_questions

        assert self.reranker is not None
        return score_questions(self.reranker, asked, aggregation=options.aggregation, overlap=options.overlap)

    def _ranked(
        self,
        question: Question,
        candidates: Sequence[tuple[str, float]],
        scores: "ArticleScores",
        options: PipelineOptions,
    ) -> Ranked:
        """The ranking of candidates, the first of which have ``scores``."""
        weight = options.first_stage_weight or 0.0
        ordered = rank(candidates, scores.logits.tolist(), scores.probabilities.tolist(), weight)
        return Ranked(question, ordered, scores.coverage, windows=int(scores.windows.sum()))


def _each_question(questions: Iterable[Question]) -> Iterator[Question]:
    """The questions one by one; raises UsageError for one that is no Question when it is reached."""
    if isinstance(questions, str | Question) or not isinstance(questions, Iterable):
        raise UsageError(f"questions must be a list of Question, not {shown(questions)}.")
    return map(_checked, questions)


def _checked(question: Question) -> Question:
    check_type("A question", question, Question)
    return question


def _depth(options: PipelineOptions) -> int:
    """The number of candidates to find."""
    return max(options.offset + options.top, options.rerank_depth or 0)


def _title_question(article: Article) -> str:
    """The question that stands for an article: its title, or the first sentence of its abstract."""
    text = article.title or article.vernacular_title or next((one.text for one in sentences(article)), "")
    words = text.split()
    if not words:
        raise QuestionError(f"The article {article.id} has neither title nor abstract, so nothing is similar to it.")
    return " ".join(words[:TITLE_WORDS])


def _scored(candidates: Sequence[Candidate]) -> list[tuple[str, float]]:
    return [(candidate.id, candidate.score) for candidate in candidates]
