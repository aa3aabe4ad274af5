"""Dense retrieval over a Lucene index: the articles whose vectors have the highest inner product with the question's."""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bioqa.arguments import check_items, check_type, shown
from bioqa.errors import IndexStateError, UsageError
from bioqa.index.article_encoder import at_length_one
from bioqa.index.document import ID
from bioqa.index.filters import Filters, term_query
from bioqa.index.java_errors import java_errors
from bioqa.index.jvm import cast, java, java_lock
from bioqa.index.manifest import VectorInfo
from bioqa.index.query import QueryBuilder
from bioqa.index.reader import Index, OpenCommit
from bioqa.retrieve.bm25 import BM25Retriever, unpack_hits
from bioqa.retrieve.options import SearchOptions
from bioqa.retrieve.retriever import (
    Facets,
    MissingField,
    Snapshot,
    UnknownValue,
    check_candidates,
    check_search,
    check_similar,
    check_text,
)
from bioqa.types import Article, Candidate, Candidates

DEFAULTS = SearchOptions()
MAX_COMPILED = 8
"""Number of filters whose compiled form is cached."""
EXTRA = 200
"""How many more candidates than results each segment's graph is asked for at least; twice as many as results if that is more."""


@runtime_checkable
class QueryEncoder(Protocol):
    """Makes vectors of questions: an ``Encoder``."""

    @property
    def info(self) -> VectorInfo:
        """How the vectors are made."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of n questions: float32 (n, dimension)."""
        ...


@dataclass(frozen=True, slots=True)
class _Compiled:
    """Filters compiled for one commit: what searches the articles that pass them, and how its vectors are compared."""

    commit: OpenCommit
    searcher: Any
    similarity: str


class DenseRetriever:
    """The first stage over the vectors of an open ``Index``, which the caller closes. Safe to use from several threads.

    ``encoder`` must be the one that made the index's vectors. Scores are inner products, which at length 1 are cosines. They are
    exact, but in an index of more than 10,000 articles an HNSW graph proposes which articles are compared, so that one of the best
    may be missed. With ``exact``, all articles are compared. A question finds the nearest articles, however far they are; filters
    and deletions hold. Options of BM25 have no effect.

    Raises:
        IndexStateError: the index has no vectors, or another encoder made them.
        UsageError: an argument is of the wrong type.
    """

    scale = "dense"

    def __init__(self, index: Index, encoder: QueryEncoder, *, exact: bool = False) -> None:
        check_type("index", index, Index)
        check_type("exact", exact, bool)
        if isinstance(encoder, type) or not isinstance(encoder, QueryEncoder):
            raise UsageError(f"encoder must be an Encoder, not {shown(encoder)}. Load one with Encoder(NAME).")
        check_encoder(index, encoder.info)
        self.index = index
        self.encoder = encoder
        self.exact = exact
        self._words = BM25Retriever(index)
        self._compiled: OrderedDict[tuple[Filters, OpenCommit], _Compiled] = OrderedDict()

    def search(self, question: str, k: int = 10, options: SearchOptions = DEFAULTS) -> Candidates:
        """The ``k`` articles with the highest inner product with the question, best first; equal scores in the order of their ids.

        Raises:
            UsageError: ``k`` is less than 1, or an option is not supported.
            ModelError: the encoder failed.
        """
        check_search(k, options)
        self.check_question(question, options)
        compiled = self._compile(options.filters)
        vector = self._encode([question], compiled.similarity).tobytes()
        with java_errors(self.index.path):
            return self._search(compiled, vector, k)

    def search_many(self, questions: Sequence[str], k: int = 10, options: SearchOptions = DEFAULTS) -> list[Candidates]:
        """What ``search`` returns for each question, several questions at a time."""
        check_search(k, options)
        questions = check_items("questions", questions, str)
        for question in questions:
            self.check_question(question, options)
        if not questions:
            return []
        compiled = self._compile(options.filters)
        vectors = self._encode(questions, compiled.similarity)
        threads = min(self.index.threads, len(questions))
        with java_errors(self.index.path):
            search = java("bioqa.DenseSearcher").searchAll
            found = search(compiled.searcher, vectors.tobytes(), vectors.shape[1], k, self._candidates(k), threads)
            return [unpack_hits(hits, compiled.commit) for hits in found]

    def similar(self, article: Article, k: int = 10, options: SearchOptions = DEFAULTS) -> Candidates:
        """The ``k`` articles whose vectors have the highest inner product with that of an article of the index, without itself.

        Raises:
            UsageError: the article is not in the index, or has no vector; or an option is for questions.
        """
        check_similar(article, k, options)
        compiled = self._compile(options.filters)
        with java_errors(self.index.path):
            found = java("bioqa.DenseSearcher").vector(compiled.searcher, self._key(compiled.commit, article.id))
            if found is None:
                raise UsageError(f"{article.id} has no vector in {self.index.path}: search similar articles with BM25.")
            packed = self._search(compiled, found.tostring(), k + 1)
        others = [at for at, id in enumerate(packed.ids) if id != article.id][:k]
        return Candidates(
            [packed.ids[at] for at in others],
            array("f", [packed.scores[at] for at in others]),
            array("i", [packed.keys[at] for at in others]),
            packed.origin,
        )

    def check_options(self, options: SearchOptions) -> None:
        """Raise UsageError for options of the wrong type, and for Lucene's query syntax, which is no text to encode."""
        check_type("options", options, SearchOptions)
        if options.syntax != "words":
            raise UsageError("Lucene's query syntax is for words, not vectors: search it with --retriever bm25.")

    def check_question(self, question: str, options: SearchOptions = DEFAULTS) -> None:
        """Raise UsageError or QuestionError if the question is not text, or the options are not supported."""
        check_text(question)
        self.check_options(options)

    def explain(self, question: str, candidate: Candidate, options: SearchOptions = DEFAULTS) -> str:
        """The inner product of the question's vector with the candidate's."""
        self.check_question(question, options)
        check_candidates([candidate])
        compiled = self._compile(options.filters)
        vector = self._encode([question], compiled.similarity).tobytes()
        with java_errors(self.index.path):
            score = float(java("bioqa.DenseSearcher").score(compiled.searcher, vector, candidate.key))
        if np.isnan(score):
            return f"{candidate.id} has no vector."
        info = self.encoder.info
        return f"{score:.6f} = inner product of the vectors ({info.dimension} dimensions, {info.model})"

    def missing_field_counts(self, question: str | None, options: SearchOptions = DEFAULTS) -> list[MissingField]:
        """As ``Retriever.missing_field_counts``; every article matches a question."""
        if question is not None:
            check_text(question)
        self.check_options(options)
        return self._words.missing_field_counts(None, options)

    def unknown_filter_values(self, options: SearchOptions = DEFAULTS) -> list[UnknownValue]:
        """As ``Retriever.unknown_filter_values``."""
        return self._words.unknown_filter_values(options)

    def facets(
        self, question: str, fields: Sequence[str], options: SearchOptions = DEFAULTS, values: int = 10
    ) -> Facets:
        """As ``Retriever.facets``, of the articles that have a word of the question: vectors match every article."""
        self.check_options(options)
        return self._words.facets(question, fields, options, values)

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The stored articles of candidates that this retriever returned."""
        return self._words.articles(candidates)

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """The articles with these ids, None for each that is not in the index."""
        return self._words.get_many(ids)

    def snapshot(self) -> Snapshot:
        """Name, size and dates of the index."""
        return self._words.snapshot()

    def _search(self, compiled: _Compiled, vector: bytes, k: int) -> Candidates:
        search = java("bioqa.DenseSearcher").search
        return unpack_hits(search(compiled.searcher, vector, k, self._candidates(k), self.index.pool), compiled.commit)

    def _key(self, commit: OpenCommit, id: str) -> int:
        """Lucene's number of the article with that id, -1 if there is none."""
        with java_lock:
            [hit] = commit.searcher.search(term_query(ID, id), 1).scoreDocs or [None]
            return -1 if hit is None else int(hit.doc)

    def _candidates(self, k: int) -> int:
        return 0 if self.exact else k + max(EXTRA, k)

    def _encode(self, questions: Sequence[str], similarity: str) -> NDArray[np.float32]:
        """The vectors of n questions as they are compared: float32 (n, dimension)."""
        vectors = np.ascontiguousarray(self.encoder.encode_queries(questions), dtype=np.float32)
        return np.nan_to_num(at_length_one(vectors)) if similarity == "cosine" else vectors

    def _compile(self, filters: Filters) -> _Compiled:
        """The filters for the commit that is open now."""
        commit = self.index.commit
        found = self._compiled.get((filters, commit))
        if found is not None:
            return found
        retracted = commit.retracted() if filters.exclude_retracted else None
        with java_lock:
            found = self._compiled.get((filters, commit))
            if found is not None:
                return found
            vectors = check_encoder(self.index, self.encoder.info)  # a commit since may have other ones
            for key in [key for key in self._compiled if key[1] is not commit]:
                del self._compiled[key]
            query = QueryBuilder(filters, retracted=retracted).passing() if filters else None
            passing = None if query is None else cast("org.apache.lucene.search.Query", query)
            with java_errors(self.index.path):
                searcher = java("bioqa.DenseSearcher").open(commit.searcher, passing)
            made = self._compiled[filters, commit] = _Compiled(commit, searcher, vectors.similarity)
            if len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
            return made


def check_encoder(index: Index, info: VectorInfo) -> VectorInfo:
    """How the index's vectors were made. Raises IndexStateError if it has none, or others than the encoder described makes."""
    found = index.manifest.vectors
    if found is None:
        raise IndexStateError(f"{index.path} has no vectors. Make them with `bioqa index embed {index.path}`.")
    if (found.digest, found.dimension) != (info.digest, info.dimension):
        raise IndexStateError(
            f"The vectors of {index.path} were made by {found.model}, which is not the same as {info.model} now. Load that model, "
            f"or make the vectors again with `bioqa index embed {index.path} --model {info.model}`."
        )
    return found
