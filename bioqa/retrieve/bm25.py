"""BM25 over a Lucene index, with Anserini's analyzer and bag-of-words query: the scores are Pyserini's."""

import sys
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bioqa.index.filters import combine, missing_query
from bioqa.index.jvm import cast, java, java_lock
from bioqa.index.query import RM3_DOCUMENTS, QueryBuilder
from bioqa.index.reader import Index
from bioqa.retrieve.options import SearchOptions
from bioqa.retrieve.retriever import MissingField, Snapshot
from bioqa.types import Article, Candidate, Candidates

DEFAULTS = SearchOptions()
MAX_COMPILED = 8
"""Number of search options whose compiled form is cached."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """Search options compiled for Lucene: a query builder, a searcher on all threads and one on a single thread."""

    queries: QueryBuilder
    searcher: Any
    one_thread: Any
    rm3: bool


class BM25Retriever:
    """The first stage over an open ``Index``, which the caller closes.

    Slow searches run on all of the index's threads, and so do the questions of ``search_many``. Safe to use from several threads.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self._compiled: OrderedDict[SearchOptions, _Compiled] = OrderedDict()

    def search(self, question: str, k: int = 10, options: SearchOptions = DEFAULTS) -> Candidates:
        """The ``k`` articles with the highest score for the question, best first; equal scores in index order.

        Raises:
            QuestionError: ``options.syntax`` is "lucene" and the question is not valid in it.
        """
        compiled = self._compile(options)
        return unpack_hits(java("bioqa.Searcher").search(compiled.searcher, self._query(compiled, question), k))

    def search_many(self, questions: Sequence[str], k: int = 10, options: SearchOptions = DEFAULTS) -> list[Candidates]:
        """What ``search`` returns for each question, several questions at a time."""
        compiled = self._compile(options)
        first = [compiled.queries.build(question) for question in questions]
        if not options.rm3:
            return self._search_all(compiled, first, k)
        feedback = self._search_all(compiled, first, RM3_DOCUMENTS)
        expanded = [self._expand(compiled, *one) for one in zip(questions, first, feedback, strict=True)]
        return self._search_all(compiled, expanded, k)

    def check_options(self, options: SearchOptions) -> None:
        """Does nothing: every option is supported."""

    def check_question(self, question: str, options: SearchOptions = DEFAULTS) -> None:
        """Raise QuestionError if ``options.syntax`` is "lucene" and the question is not valid in it."""
        self._compile(options).queries.build(question)

    def explain(self, question: str, candidate: Candidate, options: SearchOptions = DEFAULTS) -> str:
        """Lucene's explanation of a candidate's score, on several lines."""
        compiled = self._compile(options)
        query = self._query(compiled, question)
        with java_lock:
            explained = compiled.searcher.explain(cast("org.apache.lucene.search.Query", query), candidate.key)
            return str(explained.toString()).rstrip()

    def missing_field_counts(self, question: str | None, options: SearchOptions = DEFAULTS) -> list[MissingField]:
        """As ``Retriever.missing_field_counts``."""
        compiled = self._compile(options)
        counts = []
        for name in options.filters.fields:
            queries = compiled.queries
            with java_lock:
                matching = queries.passing(skip=name) if question is None else queries.build(question, skip=name)
                query = combine((matching, "FILTER"), (missing_query(name), "FILTER"))
            count = int(java("bioqa.Searcher").count(compiled.searcher, query))
            if count:
                counts.append(MissingField(name, count))
        return counts

    def unknown_filter_values(self, options: SearchOptions = DEFAULTS) -> list[tuple[str, str]]:
        """As ``Retriever.unknown_filter_values``."""
        return [(name, value) for name, value in options.filters.values() if not self.index.has_term(name, value)]

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The stored articles of candidates that this retriever returned."""
        return self.index.articles([candidate.key for candidate in candidates])

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """The articles with these ids, None for each that is not in the index."""
        return self.index.get_many(ids)

    def snapshot(self) -> Snapshot:
        """Name, size and dates of the index."""
        manifest = self.index.manifest
        return Snapshot(self.index.path.name, len(self.index), manifest.snapshot, manifest.created)

    def _compile(self, options: SearchOptions) -> _Compiled:
        with java_lock:
            found = self._compiled.get(options)
            if found is None:
                found = _Compiled(
                    QueryBuilder(options.filters, options.title_weight, options.syntax),
                    self.index.searcher(options.k1, options.b),
                    self.index.searcher(options.k1, options.b, one_thread=True),
                    options.rm3,
                )
                self._compiled[options] = found
                if len(self._compiled) > MAX_COMPILED:
                    self._compiled.popitem(last=False)
            return found

    def _query(self, compiled: _Compiled, question: str) -> Any:
        query = compiled.queries.build(question)
        if not compiled.rm3:
            return query
        feedback = unpack_hits(java("bioqa.Searcher").search(compiled.searcher, query, RM3_DOCUMENTS))
        return self._expand(compiled, question, query, feedback)

    def _search_all(self, compiled: _Compiled, queries: Sequence[Any], k: int) -> list[Candidates]:
        if not queries:
            return []
        threads = min(self.index.threads, len(queries))
        found = java("bioqa.Searcher").searchAll(compiled.one_thread, list(queries), k, threads)
        return [unpack_hits(hits) for hits in found]

    def _expand(self, compiled: _Compiled, question: str, query: Any, feedback: Sequence[Candidate]) -> Any:
        """The RM3 query with terms of the articles that ``query`` found; ``query`` itself if it found none."""
        if not feedback:
            return query
        texts = [article.searchable_text() for article in self.articles(feedback)]
        scores = [candidate.score for candidate in feedback]
        return compiled.queries.expanded(question, self.index.reader, texts, scores)


def unpack_hits(packed: Any) -> Candidates:
    """The candidates in the bytes that Java's ``Searcher.search`` returned."""
    data = packed.tostring()
    count = int.from_bytes(data[:4], sys.byteorder)
    scores, ids = 4 + 4 * count, 4 + 8 * count
    return Candidates(data[ids:].decode().split("\n")[:count], array("f", data[scores:ids]), array("i", data[4:scores]))
