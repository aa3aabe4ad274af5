"""Fusion of BM25 and dense retrieval: candidates of both, ranked by one score."""

from array import array
from collections.abc import Callable, Mapping, Sequence

from bioqa.arguments import check_items, check_type
from bioqa.errors import UsageError
from bioqa.retrieve.bm25 import BM25Retriever
from bioqa.retrieve.dense import DenseRetriever
from bioqa.retrieve.options import SearchOptions
from bioqa.retrieve.retriever import Facets, MissingField, Snapshot, UnknownValue, check_search, check_similar
from bioqa.types import Article, Candidate, Candidates, Found

DEFAULTS = SearchOptions()
RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
WEIGHT = 0.5
"""The share of dense scores if none is chosen."""
DEPTH = 200
"""Candidates of each first stage that are fused at least, so that scores do not depend on the number of results up to here."""
BM25, DENSE = "bm25", "dense"


def min_max(scores: Sequence[float]) -> list[float]:
    """Scores, best first, from 0 for the last to 1 for the first; 1 if all are equal."""
    low, spread = min(scores, default=0.0), max(scores, default=0.0) - min(scores, default=0.0)
    return [(score - low) / spread if spread else 1.0 for score in scores]


def reciprocal_ranks(scores: Sequence[float]) -> list[float]:
    """2 / (``RRF_K`` + rank), so that equal weights, which sum to 1, give the usual sum of reciprocal ranks."""
    return [2 / (RRF_K + rank) for rank in range(1, len(scores) + 1)]


def unchanged(scores: Sequence[float]) -> list[float]:
    """The scores themselves."""
    return list(scores)


FUSIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "minmax": min_max,
    "rrf": reciprocal_ranks,
    "wsum": unchanged,
}
"""Name → what becomes of the scores of one list before the weighted sum."""


def fuse(
    lists: Mapping[str, Sequence[tuple[str, float]]], weights: Mapping[str, float], fusion: str
) -> list[tuple[str, float]]:
    """The (id, fused score) of all candidates, best first; equal scores in the order of their ids' bytes.

    ``lists`` has the (id, score) candidates of each first stage, best first. A candidate's score is the sum of its normalized
    scores times the ``weights``. A list that lacks it counts as its lowest score: with "minmax" 0, with "wsum" the score of its
    last candidate; with "rrf" it adds nothing.
    """
    normalize = FUSIONS[fusion]
    fused: dict[str, float] = {}
    columns = {
        name: (
            dict(zip((id for id, _ in found), values, strict=True)),
            0.0 if fusion == "rrf" else min(values, default=0.0),
        )
        for name, found in lists.items()
        for values in [normalize([score for _, score in found])]
    }
    for found in lists.values():
        for id, _ in found:
            if id not in fused:
                fused[id] = sum(weights[name] * values.get(id, missing) for name, (values, missing) in columns.items())
    return sorted(fused.items(), key=lambda one: (-one[1], one[0].encode("utf-8", "surrogatepass")))


class HybridRetriever:
    """The first stage that fuses the candidates of ``bm25`` and ``dense``, which search the same index.

    ``fusion`` is a key of ``FUSIONS``: "minmax" brings the scores of each list to 0 … 1, "rrf" takes ranks only, "wsum" the scores
    as they are. ``weight`` (0 to 1) is the share of the dense scores; None for the one that was chosen for this index, else
    ``WEIGHT``. See ``fuse`` for candidates that only one of them found. Each candidate keeps its ranks and scores in both
    (``Candidates.found``). Safe to use from several threads.

    Raises:
        UsageError: an argument is of the wrong type or out of range, or the two retrievers search different indexes.
    """

    def __init__(
        self, bm25: BM25Retriever, dense: DenseRetriever, fusion: str = "minmax", weight: float | None = None
    ) -> None:
        check_type("bm25", bm25, BM25Retriever)
        check_type("dense", dense, DenseRetriever)
        check_type("fusion", fusion, str)
        check_type("weight", weight, float, int, type(None))
        if bm25.index is not dense.index:
            raise UsageError("bm25 and dense must search the same Index.")
        if fusion not in FUSIONS:
            raise UsageError(f"Unknown fusion {fusion!r}. Choose from {', '.join(FUSIONS)}.")
        if weight is not None and not 0 <= weight <= 1:
            raise UsageError(f"The fusion weight must be between 0 and 1, not {weight}.")
        self.bm25 = bm25
        self.dense = dense
        self.fusion = fusion
        stored = bm25.index.manifest.vectors.fusion_weight if bm25.index.manifest.vectors else None
        self.weight = weight if weight is not None else stored if stored is not None else WEIGHT

    @property
    def scale(self) -> str:
        """What scores are: the fusion's name."""
        return self.fusion

    def search(self, question: str, k: int = 10, options: SearchOptions = DEFAULTS) -> Candidates:
        """The ``k`` candidates with the highest fused score, best first; equal scores in the order of their ids.

        Raises what the two retrievers raise.
        """
        check_search(k, options)
        self.check_question(question, options)
        depth = max(k, DEPTH)
        while True:
            words, vectors = self.bm25.search(question, depth, options), self.dense.search(question, depth, options)
            if words.origin is vectors.origin:  # else the index has moved on to another commit in between
                return self._fused(words, vectors, k)

    def search_many(self, questions: Sequence[str], k: int = 10, options: SearchOptions = DEFAULTS) -> list[Candidates]:
        """What ``search`` returns for each question, several questions at a time."""
        check_search(k, options)
        questions = check_items("questions", questions, str)
        self.check_options(options)
        depth = max(k, DEPTH)
        while True:
            words = self.bm25.search_many(questions, depth, options)
            vectors = self.dense.search_many(questions, depth, options)
            pairs = list(zip(words, vectors, strict=True))
            if all(one.origin is other.origin for one, other in pairs):
                return [self._fused(*pair, k) for pair in pairs]

    def similar(self, article: Article, k: int = 10, options: SearchOptions = DEFAULTS) -> Candidates:
        """The ``k`` articles most similar to one of the index by the fused scores of both, without itself.

        Raises what the two retrievers raise.
        """
        check_similar(article, k, options)
        depth = max(k, DEPTH)
        while True:
            words, vectors = self.bm25.similar(article, depth, options), self.dense.similar(article, depth, options)
            if words.origin is vectors.origin:
                return self._fused(words, vectors, k)

    def _fused(self, words: Candidates, vectors: Candidates, k: int) -> Candidates:
        lists = {
            name: list(zip(found.ids, found.scores, strict=True)) for name, found in ((BM25, words), (DENSE, vectors))
        }
        best = fuse(lists, {BM25: 1 - self.weight, DENSE: self.weight}, self.fusion)[:k]
        ids = [id for id, _ in best]
        keys = dict(zip(words.ids, words.keys, strict=True)) | dict(zip(vectors.ids, vectors.keys, strict=True))
        places = {
            name: {id: Found(rank, score) for rank, (id, score) in enumerate(found, start=1)}
            for name, found in lists.items()
        }
        return Candidates(
            ids,
            array("f", [score for _, score in best]),
            array("i", [keys[id] for id in ids]),
            words.origin,
            {name: [known.get(id) for id in ids] for name, known in places.items()},
        )

    def check_options(self, options: SearchOptions) -> None:
        """Raise UsageError for options that one of the two does not support."""
        self.bm25.check_options(options)
        self.dense.check_options(options)

    def check_question(self, question: str, options: SearchOptions = DEFAULTS) -> None:
        """Raise QuestionError or UsageError if one of the two cannot search the question."""
        self.dense.check_question(question, options)
        self.bm25.check_question(question, options)

    def explain(self, question: str, candidate: Candidate, options: SearchOptions = DEFAULTS) -> str:
        """The explanations of both, on several lines."""
        words, vectors = (one.explain(question, candidate, options) for one in (self.bm25, self.dense))
        fused = f"{candidate.score:.6f} = {self.fusion} of {1 - self.weight:g} × BM25 and {self.weight:g} × dense"
        return f"{fused}\nBM25: {words}\nDense: {vectors}"

    def missing_field_counts(self, question: str | None, options: SearchOptions = DEFAULTS) -> list[MissingField]:
        """As ``Retriever.missing_field_counts``, of the articles that have a word of the question."""
        self.check_options(options)
        return self.bm25.missing_field_counts(question, options)

    def unknown_filter_values(self, options: SearchOptions = DEFAULTS) -> list[UnknownValue]:
        """As ``Retriever.unknown_filter_values``."""
        return self.bm25.unknown_filter_values(options)

    def facets(
        self, question: str, fields: Sequence[str], options: SearchOptions = DEFAULTS, values: int = 10
    ) -> Facets:
        """As ``Retriever.facets``, of the articles that have a word of the question."""
        return self.dense.facets(question, fields, options, values)

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The stored articles of candidates that this retriever returned."""
        return self.bm25.articles(candidates)

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """The articles with these ids, None for each that is not in the index."""
        return self.bm25.get_many(ids)

    def snapshot(self) -> Snapshot:
        """Name, size and dates of the index."""
        return self.bm25.snapshot()
