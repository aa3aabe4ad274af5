"""BM25 over a Lucene index, with Anserini's analyzer and bag-of-words query: the scores are Pyserini's."""

import sys
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bioqa.arguments import check_items, check_type
from bioqa.index.document import ID
from bioqa.index.filters import combine, missing_query, term_query
from bioqa.index.java_errors import java_errors
from bioqa.index.jvm import cast, java, java_lock
from bioqa.index.query import RM3_DOCUMENTS, QueryBuilder
from bioqa.index.reader import Index, OpenCommit, unpack_counts
from bioqa.retrieve.options import SearchOptions
from bioqa.retrieve.retriever import (
    Facets,
    MissingField,
    Snapshot,
    UnknownValue,
    check_candidates,
    check_facets,
    check_search,
    check_similar,
    check_text,
)
from bioqa.types import Article, Candidate, Candidates

DEFAULTS = SearchOptions()
MAX_COMPILED = 8
"""Number of search options whose compiled form is cached."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """Search options compiled for one commit: a query builder, a searcher on all threads and one on a single thread."""

    commit: OpenCommit
    queries: QueryBuilder
    searcher: Any
    one_thread: Any
    rm3: bool


class BM25Retriever:
    """The first stage over an open ``Index``, which the caller closes.

    Slow searches run on all of the index's threads, and so do the questions of ``search_many``. Safe to use from several threads.
    """

    scale = "bm25"

    def __init__(self, index: Index) -> None:
        check_type("index", index, Index)
        self.index = index
        self._compiled: OrderedDict[tuple[SearchOptions, OpenCommit], _Compiled] = OrderedDict()

    def search(self, question: str, k: int = 10, options: SearchOptions = DEFAULTS) -> Candidates:
        """The ``k`` articles with the highest score for the question, best first; equal scores in the order of their ids.

        Raises:
            QuestionError: ``options.syntax`` is "lucene" and the question is not valid in it.
            UsageError: ``k`` is less than 1.
        """
        check_text(question)
        check_search(k, options)
        compiled = self._compile(options)
        with java_errors(self.index.path):
            return _search(compiled, self._query(compiled, question), k)

    def search_many(self, questions: Sequence[str], k: int = 10, options: SearchOptions = DEFAULTS) -> list[Candidates]:
        """What ``search`` returns for each question, several questions at a time."""
        check_search(k, options)
        questions = check_items("questions", questions, str)
        for question in questions:
            check_text(question)
        compiled = self._compile(options)
        with java_errors(self.index.path):
            first = [compiled.queries.build(question) for question in questions]
            if not options.rm3:
                return self._search_all(compiled, first, k)
            feedback = self._search_all(compiled, first, RM3_DOCUMENTS)
            expanded = [self._expand(compiled, *one) for one in zip(questions, first, feedback, strict=True)]
            return self._search_all(compiled, expanded, k)

    def similar(self, article: Article, k: int = 10, options: SearchOptions = DEFAULTS) -> Candidates:
        """The ``k`` articles most like one in title, abstract and MeSH headings (Lucene's MoreLikeThis), without itself."""
        check_similar(article, k, options)
        compiled = self._compile(options)
        with java_errors(self.index.path):
            return _search(compiled, compiled.queries.similar(article, compiled.commit.reader), k)

    def check_options(self, options: SearchOptions) -> None:
        """Raise UsageError if they are no SearchOptions; every option is supported."""
        check_type("options", options, SearchOptions)

    def check_question(self, question: str, options: SearchOptions = DEFAULTS) -> None:
        """Raise QuestionError if ``options.syntax`` is "lucene" and the question is not valid in it."""
        check_text(question)
        self.check_options(options)
        self._compile(options).queries.build(question)

    def explain(self, question: str, candidate: Candidate, options: SearchOptions = DEFAULTS) -> str:
        """Lucene's explanation of a candidate's score, on several lines."""
        check_text(question)
        check_candidates([candidate])
        self.check_options(options)
        compiled = self._compile(options)
        query = self._query(compiled, question)
        with java_lock, java_errors(self.index.path):
            [hit] = compiled.searcher.search(term_query(ID, candidate.id), 1).scoreDocs or [None]
            if hit is None:
                return f"{candidate.id} is not in the index any more."
            explained = compiled.searcher.explain(cast("org.apache.lucene.search.Query", query), hit.doc)
            return str(explained.toString()).rstrip()

    def count(self, question: str, options: SearchOptions = DEFAULTS) -> int:
        """The number of articles that match the question and pass the filters; terms that RM3 adds find no further ones."""
        check_text(question)
        self.check_options(options)
        compiled = self._compile(options)
        query = compiled.queries.build(question)
        with java_errors(self.index.path):
            return int(java("bioqa.Searcher").count(compiled.searcher, query))

    def missing_field_counts(self, question: str | None, options: SearchOptions = DEFAULTS) -> list[MissingField]:
        """As ``Retriever.missing_field_counts``."""
        if question is not None:
            check_text(question)
        self.check_options(options)
        compiled = self._compile(options)
        counts = []
        for name in options.filters.fields:
            queries = compiled.queries
            with java_lock:
                matching = queries.passing(skip=name) if question is None else queries.build(question, skip=name)
                query = combine((matching, "FILTER"), (missing_query(name), "FILTER"))
            with java_errors(self.index.path):
                count = int(java("bioqa.Searcher").count(compiled.searcher, query))
            if count:
                counts.append(MissingField(name, count))
        return counts

    def unknown_filter_values(self, options: SearchOptions = DEFAULTS) -> list[UnknownValue]:
        """As ``Retriever.unknown_filter_values``."""
        self.check_options(options)
        has_term = self.index.has_term
        unknown = [
            (name, value)
            for (name, value), terms in options.filters.terms().items()
            if not any(has_term(name, term) for term in terms)
        ]
        return [UnknownValue(name, value, self.index.nearest_term(name, value)) for name, value in unknown]

    def facets(
        self, question: str, fields: Sequence[str], options: SearchOptions = DEFAULTS, values: int = 10
    ) -> Facets:
        """As ``Retriever.facets``, from doc values; several fields at a time on the index's threads."""
        check_text(question)
        self.check_options(options)
        names = check_facets(fields, values)
        compiled = self._compile(options)
        query = compiled.queries.build(question)
        with java_errors(self.index.path):
            found = java("bioqa.FacetCounter").count(compiled.searcher, query, names, values, self.index.threads)
        return {name: unpack_counts(counts) for name, counts in zip(names, found, strict=True)}

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The stored articles of candidates that this retriever returned."""
        check_candidates(candidates)
        return self.index.articles_of(self._origin(candidates), [candidate.key for candidate in candidates])

    def stored(self, candidates: Sequence[Candidate]) -> list[str]:
        """The articles of candidates that this retriever returned, as JSON, as they are stored."""
        check_candidates(candidates)
        return self.index.stored(self._origin(candidates), [candidate.key for candidate in candidates])

    def _origin(self, candidates: Sequence[Candidate]) -> OpenCommit:
        """The commit that candidates were found in."""
        origin: OpenCommit | None = candidates.origin if isinstance(candidates, Candidates) else None
        return origin or self.index.commit

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """The articles with these ids, None for each that is not in the index."""
        ids = check_items("ids", ids, str)
        return self.index.get_many(ids)

    def snapshot(self) -> Snapshot:
        """Name, size and dates of the index."""
        commit = self.index.commit
        manifest = commit.manifest
        return Snapshot(
            self.index.path.name, len(self.index), manifest.snapshot, manifest.created, generation=commit.generation
        )

    def _compile(self, options: SearchOptions) -> _Compiled:
        """The options for the commit that is open now."""
        commit = self.index.commit
        found = self._compiled.get((options, commit))
        if found is not None:
            return found
        with java_errors(self.index.path):
            retracted = commit.retracted() if options.filters.exclude_retracted else None
        with java_lock, java_errors(self.index.path):
            found = self._compiled.get((options, commit))
            if found is not None:
                return found
            for key in [key for key in self._compiled if key[1] is not commit]:
                del self._compiled[key]  # an older commit stays open for running searches only
            made = self._compiled[options, commit] = _Compiled(
                commit,
                QueryBuilder(options.filters, options.title_weight, options.syntax, retracted),
                self.index.searcher(commit, options.k1, options.b),
                self.index.searcher(commit, options.k1, options.b, one_thread=True),
                options.rm3,
            )
            if len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
            return made

    def _query(self, compiled: _Compiled, question: str) -> Any:
        query = compiled.queries.build(question)
        if not compiled.rm3:
            return query
        return self._expand(compiled, question, query, _search(compiled, query, RM3_DOCUMENTS))

    def _search_all(self, compiled: _Compiled, queries: Sequence[Any], k: int) -> list[Candidates]:
        if not queries:
            return []
        threads = min(self.index.threads, len(queries))
        search_all = java("bioqa.Searcher").searchAll
        found = search_all(compiled.one_thread, list(queries), k, threads, pass_by_reference=False)
        return [unpack_hits(hits, compiled.commit) for hits in found]

    def _expand(self, compiled: _Compiled, question: str, query: Any, feedback: Sequence[Candidate]) -> Any:
        """The RM3 query with terms of the articles that ``query`` found; ``query`` itself if it found none."""
        if not feedback:
            return query
        texts = [article.searchable_text() for article in self.articles(feedback)]
        scores = [candidate.score for candidate in feedback]
        return compiled.queries.expanded(question, compiled.commit.reader, texts, scores)


def _search(compiled: _Compiled, query: Any, k: int) -> Candidates:
    return unpack_hits(java("bioqa.Searcher").search(compiled.searcher, query, k), compiled.commit)


def unpack_hits(packed: Any, origin: OpenCommit | None = None) -> Candidates:
    """The candidates in the bytes that Java's ``Searcher.search`` returned, found in the commit ``origin``."""
    data = packed.tostring()
    count = int.from_bytes(data[:4], sys.byteorder)
    scores, ids = 4 + 4 * count, 4 + 8 * count
    names = data[ids:].decode().split("\n")[:count]
    return Candidates(names, array("f", data[scores:ids]), array("i", data[4:scores]), origin)
