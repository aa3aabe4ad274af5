"""What a pipeline gives for a question: a ranking, or an answer with articles and sentences."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from bioqa.pipeline.options import PipelineOptions
from bioqa.retrieve.retriever import MissingField, Snapshot
from bioqa.types import Hit, Question


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the reranked articles was read.

    ``scored`` articles, of which ``split`` were read in several windows and ``cut`` not to the end. Their text has ``characters``
    in all, of which ``unread`` were not read.
    """

    scored: int = 0
    split: int = 0
    cut: int = 0
    characters: int = 0
    unread: int = 0

    def __add__(self, other: "Coverage") -> "Coverage":
        return Coverage(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class RankedCandidate(NamedTuple):
    """A candidate in its final place. ``place`` is its rank in the first stage, from 0; logit and probability are None where it was
    not reranked.
    """

    id: str
    score: float
    first_stage_score: float
    place: int
    logit: float | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """The ranking of one question, best first.

    ``timings`` are seconds by stage: "retrieve", "rerank". ``missing`` counts candidates of a run that the corpus does not hold.
    ``windows`` is the number of texts in which the candidates were scored.
    """

    question: Question
    candidates: list[RankedCandidate]
    coverage: Coverage = field(default_factory=Coverage)
    timings: dict[str, float] = field(default_factory=dict)
    missing: int = 0
    windows: int = 0

    @property
    def results(self) -> list[tuple[str, float]]:
        """(article id, score), best first, as a run file holds them."""
        return [(one.id, one.score) for one in self.candidates]


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits for a question and how they came about.

    ``reranker`` is the reranker's name, None where none ran, and ``first_stage_weight`` the weight in force. ``timings`` are
    seconds by stage: "retrieve", "rerank", "highlight". ``missing_fields`` are the articles that a filter excluded only because
    they lack its field, ``unknown_filter_values`` the (field, value) of filters that no article has. ``options`` are those in
    force, and ``index`` is what was searched.
    """

    question: Question
    hits: tuple[Hit, ...]
    reranker: str | None
    first_stage_weight: float | None
    timings: dict[str, float]
    coverage: Coverage
    missing_fields: tuple[MissingField, ...]
    unknown_filter_values: tuple[tuple[str, str], ...]
    options: PipelineOptions
    index: Snapshot

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON holds it."""
        return {
            "id": self.question.id,
            "question": self.question.body,
            "reranker": self.reranker,
            "first_stage_weight": self.first_stage_weight,
            "index": asdict(self.index),
            "options": self.options.to_dict(),
            "timings": {stage: round(seconds, 6) for stage, seconds in self.timings.items()},
            "coverage": asdict(self.coverage),
            "missing_fields": {one.field: one.articles for one in self.missing_fields},
            "unknown_filter_values": [list(one) for one in self.unknown_filter_values],
            "hits": [hit.to_dict() for hit in self.hits],
        }
