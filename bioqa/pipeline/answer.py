"""What a pipeline returns for a question: a ranking, or an answer with articles and sentences."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from bioqa.arguments import check_fields
from bioqa.pipeline.options import PipelineOptions
from bioqa.retrieve.retriever import Facets, MissingField, Snapshot, UnknownValue
from bioqa.types import Hit, Question


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the reranked articles was read.

    Of ``scored`` articles, ``split`` were read in several windows and ``truncated`` were not read to the end. Their text has
    ``characters`` characters, of which ``unread`` were not read.
    """

    scored: int = 0
    split: int = 0
    truncated: int = 0
    characters: int = 0
    unread: int = 0

    def __add__(self, other: "Coverage") -> "Coverage":
        return Coverage(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class RankedCandidate(NamedTuple):
    """A candidate in a final ranking.

    ``score`` is what it is ranked by, ``probability`` the calibrated logit; ``Hit`` tells the scores apart. ``position`` is its
    index in the first stage's list. ``logit`` and ``probability`` are None if it was not reranked.
    """

    id: str
    score: float
    first_stage_score: float
    position: int
    logit: float | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """The ranking of one question, best first.

    ``windows`` is the number of texts that the reranker scored. ``timings`` are the seconds of the stages "retrieve" and
    "rerank"; empty where several questions were processed together. ``missing`` is the number of candidates of a run that the
    corpus does not have.
    """

    question: Question
    candidates: list[RankedCandidate]
    coverage: Coverage = field(default_factory=Coverage)
    windows: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    missing: int = 0

    @property
    def results(self) -> list[tuple[str, float]]:
        """(article id, score), best first, as in a run file."""
        return [(one.id, one.score) for one in self.candidates]


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits for a question, best first, and how they came about.

    ``reranker`` is the reranker's name (None: no reranking), ``threshold`` its threshold on the scale of ``Hit.reranker_score``
    (None: it has none). ``timings`` are the seconds of the stages "retrieve", "rerank", "highlight" and "facets".
    ``missing_fields`` counts the matching articles that a filter excluded only because they lack its field;
    ``unknown_filter_values`` are values of filters that no article has, each with the nearest. ``facets`` counts the values of all
    matching articles: field → (value, articles). ``options`` are those in effect (see
    ``Pipeline.resolve_options``), and ``index`` describes what was searched.
    """

    question: Question
    hits: tuple[Hit, ...]
    reranker: str | None
    timings: dict[str, float]
    coverage: Coverage
    missing_fields: tuple[MissingField, ...]
    unknown_filter_values: tuple[UnknownValue, ...]
    options: PipelineOptions
    index: Snapshot
    threshold: float | None = None
    facets: Facets = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def first_stage_weight(self) -> float | None:
        """What the first-stage score was multiplied by, None without a reranker."""
        return self.options.first_stage_weight

    def to_dict(self) -> dict[str, Any]:
        """The answer as a JSON object."""
        return {
            "id": self.question.id,
            "question": self.question.body,
            "reranker": self.reranker,
            "first_stage_weight": self.first_stage_weight,
            "threshold": self.threshold,
            "index": asdict(self.index),
            "options": self.options.to_dict(),
            "timings": {stage: round(seconds, 6) for stage, seconds in self.timings.items()},
            "coverage": asdict(self.coverage),
            "missing_fields": {one.field: one.articles for one in self.missing_fields},
            "unknown_filter_values": [one._asdict() for one in self.unknown_filter_values],
            "facets": {name: [list(one) for one in counts] for name, counts in self.facets.items()},
            "hits": [hit.to_dict() for hit in self.hits],
        }
