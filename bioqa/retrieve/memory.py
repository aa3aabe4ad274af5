"""BM25 in memory with rank-bm25, for a few thousand articles: no index on disk, no JVM."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from bioqa.arguments import check_items, check_type
from bioqa.corpus.notices import with_notices
from bioqa.errors import SourceError, UsageError
from bioqa.index.document import facet_values
from bioqa.index.filters import Filters
from bioqa.index.query import SIMILAR_TERMS
from bioqa.retrieve.analyze import Analyzed, analyzer
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
from bioqa.types import Article, Candidate, Deletion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rank_bm25 import BM25Okapi

DEFAULTS = SearchOptions()
FILTER_OPTIONS = tuple(field.name for field in fields(Filters) if field.name != "narrower")
INDEX_ONLY = ("syntax", "title_weight", "rm3")


def _bm25(corpus: Sequence[Analyzed], k1: float, b: float) -> "BM25Okapi":
    import math

    from rank_bm25 import BM25Okapi

    texts = sum(1 for text in corpus if text.tokens)

    class LuceneBM25(BM25Okapi):  # type: ignore[misc]
        """BM25Okapi with Lucene's idf, log(1 + (N - n + 0.5) / (n + 0.5)), and Lucene's lengths.

        The classic idf is negative for terms in more than half of the articles, which is common in small files. N counts texts that
        are not empty; so does the average length, to which folded forms beside words add.
        """

        def _calc_idf(self, nd: dict[str, int]) -> None:
            self.idf = {word: math.log(1 + (texts - n + 0.5) / (n + 0.5)) for word, n in nd.items()}
            self.avgdl *= self.corpus_size / texts
            self.doc_len = [_stored_length(text.length) for text in corpus]

    return LuceneBM25([text.tokens for text in corpus], k1=k1, b=b)


def _stored_length(length: int) -> int:
    """A length as Lucene stores it in one byte: exact below 40, then with its four leading bits (SmallFloat.intToByte4)."""
    rest = length - 24
    shift = max(0, rest.bit_length() - 4) if rest > 0 else 0
    return 24 + (rest >> shift << shift)


def latest(records: Iterable[Article | Deletion]) -> dict[str, Article]:
    """The articles of a corpus by id, each in its latest version and with links to the notices about it, as in a built index.

    Raises:
        SourceError: there is no article.
        UsageError: a record is neither an article nor a deletion.
    """
    articles: dict[str, Article] = {}
    for record in check_items("records", records, Article, Deletion):
        if isinstance(record, Deletion):
            articles.pop(record.id, None)
        elif record.id not in articles or record.version >= articles[record.id].version:
            articles[record.id] = record
    if not articles:
        raise SourceError("The corpus contains no articles.")
    notices = [article for article in articles.values() if any(article.links_back())]
    return {article.id: article for article in with_notices(list(articles.values()), notices)}


def check_options(options: SearchOptions) -> None:
    """Raise UsageError for options of the wrong type, or that an in-memory search does not support."""
    check_type("options", options, SearchOptions)
    used = [name for name in FILTER_OPTIONS if getattr(options.filters, name)]
    used += [name for name in INDEX_ONLY if getattr(options, name) != getattr(DEFAULTS, name)]
    if used:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in used)
        raise UsageError(
            f"{names} {'needs' if len(used) == 1 else 'need'} an index: --corpus is searched in memory, as bags of words "
            "only. Build an index with `bioqa index build`."
        )


class MemoryRetriever:
    """The first stage over articles in memory: bag-of-words questions only, no filters.

    A repeated id replaces the earlier article, as in a built index. Scores are those of an index built of the same articles, except
    for the last digits: rank-bm25's over k1 + 1, with Lucene's tokens and lengths. Safe to use from several threads, and can be
    pickled.

    Raises:
        SourceError: there is no article.
        UsageError: a record is neither an article nor a deletion.
    """

    scale = "bm25"

    def __init__(self, records: Iterable[Article | Deletion], name: str = "memory") -> None:
        check_type("name", name, str)
        self._by_id = latest(records)
        # In the order of equal scores: by id, compared as Lucene does. A lone surrogate sorts as UTF-8 would encode it.
        self._articles = sorted(self._by_id.values(), key=lambda article: article.id.encode("utf-8", "surrogatepass"))
        self._name = name
        self._analyze = analyzer()
        self._corpus = [self._analyze(article.searchable_text(), True) for article in self._articles]
        self._bm25: dict[tuple[float, float], BM25Okapi] = {}

    def __len__(self) -> int:
        return len(self._articles)

    def __reduce__(self) -> tuple[type["MemoryRetriever"], tuple[list[Article], str]]:
        """Pickled as its articles."""
        return MemoryRetriever, (self._articles, self._name)

    def search(self, question: str, k: int = 10, options: SearchOptions = DEFAULTS) -> list[Candidate]:
        """The ``k`` articles with the highest BM25 score above 0, best first; equal scores in the order of their ids' bytes.

        Raises:
            UsageError: an option needs an index, or ``k`` is less than 1.
        """
        check_search(k, options)
        check_options(options)
        check_text(question)
        return self._best(self._scores(question, options), k)

    def similar(self, article: Article, k: int = 10, options: SearchOptions = DEFAULTS) -> list[Candidate]:
        """The ``k`` articles most like one in title and abstract, without itself: by its terms of the highest tf·idf.

        Raises:
            UsageError: an option needs an index or is for questions, or ``k`` is less than 1.
        """
        check_similar(article, k, options)
        check_options(options)
        if not any(text.tokens for text in self._corpus):
            return []
        model = self._model(options)
        counts = Counter(self._analyze(article.searchable_text(), False).tokens)
        weights = {term: count * model.idf[term] for term, count in counts.items() if model.idf.get(term)}
        strongest = sorted(weights, key=lambda term: (-weights[term], term))[:SIMILAR_TERMS]
        parts = [weights[term] / weights[strongest[0]] * model.get_scores([term]) for term in strongest]
        found = self._best(sum(parts) / (options.k1 + 1), k + 1) if parts else []
        return [candidate for candidate in found if candidate.id != article.id][:k]

    def _best(self, scores: "NDArray[np.floating]", k: int) -> list[Candidate]:
        """The ``k`` articles with the highest scores above 0."""
        import numpy as np

        order = np.argsort(-scores, kind="stable")[:k]
        return [Candidate(self._articles[i].id, float(scores[i]), int(i)) for i in order if scores[i] > 0]

    def _scores(self, question: str, options: SearchOptions) -> "NDArray[np.float32]":
        """The score of each article, 0 for those without a word of the question."""
        import numpy as np

        if not any(text.tokens for text in self._corpus):
            return np.zeros(len(self), np.float32)
        scores = self._model(options).get_scores(self._analyze(question, False).tokens) / (options.k1 + 1)
        found: NDArray[np.float32] = scores.astype(np.float32)
        return found

    def _model(self, options: SearchOptions) -> "BM25Okapi":
        key = options.k1, options.b
        if key not in self._bm25:
            self._bm25[key] = _bm25(self._corpus, *key)
        return self._bm25[key]

    def search_many(
        self, questions: Sequence[str], k: int = 10, options: SearchOptions = DEFAULTS
    ) -> list[list[Candidate]]:
        """What ``search`` returns for each question."""
        check_search(k, options)
        return [self.search(question, k, options) for question in check_items("questions", questions, str)]

    def check_options(self, options: SearchOptions) -> None:
        """Raise UsageError for an option that needs an index."""
        check_options(options)

    def check_question(self, question: str, options: SearchOptions = DEFAULTS) -> None:
        """Raise UsageError if the question is no text; every text can be searched as a bag of words."""
        check_text(question)
        check_options(options)

    def explain(self, question: str, candidate: Candidate, options: SearchOptions = DEFAULTS) -> str:
        """Not available in memory: always raises UsageError."""
        raise UsageError("Scores of an in-memory search cannot be explained. Build an index and search it.")

    def missing_field_counts(self, question: str | None, options: SearchOptions = DEFAULTS) -> list[MissingField]:
        """Always empty: in-memory search has no filters."""
        if question is not None:
            check_text(question)
        check_options(options)
        return []

    def unknown_filter_values(self, options: SearchOptions = DEFAULTS) -> list[UnknownValue]:
        """Always empty: in-memory search has no filters."""
        check_options(options)
        return []

    def facets(
        self, question: str, fields: Sequence[str], options: SearchOptions = DEFAULTS, values: int = 10
    ) -> Facets:
        """As ``Retriever.facets``."""
        check_text(question)
        check_options(options)
        names = check_facets(fields, values)
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        for at in self._scores(question, options).nonzero()[0]:
            article = facet_values(self._articles[at])
            for name in names:
                counts[name].update(article[name])
        found: Facets = {}
        for name, counted in counts.items():
            by_value = sorted(counted.items())
            ranked = sorted(by_value, key=lambda one: -one[1])[:values]
            found[name] = by_value if name == "year" else ranked
        return found

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The articles of candidates that this retriever returned."""
        check_candidates(candidates, len(self))
        return [self._articles[candidate.key] for candidate in candidates]

    def get(self, id: str) -> Article | None:
        """The article with that id, or None."""
        check_type("id", id, str)
        return self._by_id.get(id)

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """What ``get`` returns for each id."""
        return [self._by_id.get(id) for id in check_items("ids", ids, str)]

    def snapshot(self) -> Snapshot:
        """Name and size of the corpus."""
        return Snapshot(self._name, len(self))
