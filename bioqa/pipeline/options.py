"""The options of a pipeline, as one value."""

from dataclasses import asdict, dataclass, field
from typing import Any

from bioqa.arguments import check_fields, check_type
from bioqa.errors import UsageError
from bioqa.retrieve.options import SearchOptions
from bioqa.retrieve.retriever import check_facets

AGGREGATIONS = {
    "maxp": "the highest logit of its windows",
    "firstp": "the logit of its first window; the others are not read",
    "meanp": "the mean logit of its windows",
    "truncate": "the logit of its text, truncated to the tokens that fit",
}
"""Name → the logit of an article that is longer than the reranker reads. MaxP and FirstP are from Dai and Callan (SIGIR 2019);
their SumP favours longer articles, so a mean takes its place."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How a question is answered.

    ``top``: number of results, after the ``offset`` best ones, which are left out. ``rerank_depth``: number of candidates to
    rerank (None: 50 on CPU, 100 on GPU, or ``top`` if more); the others follow in the first stage's order. ``first_stage_weight``:
    candidates are ranked by logit + this × the first-stage score (None: see ``combine.default_weight``). ``aggregation`` (a key of
    ``AGGREGATIONS``) and ``overlap`` (sentences shared by adjacent windows) apply to articles longer than the reranker reads.
    ``sentences``: number of answer sentences per hit. ``explain``: whether each hit explains its first-stage score.
    ``facets``: what all matching articles are counted by ("year", "journal", "mesh", "type", "language", "author"), with the
    ``facet_values`` most frequent values of each. ``search``: the options of the first stage.

    Raises:
        UsageError: a value is out of range or of the wrong type.
    """

    top: int = 10
    rerank_depth: int | None = None
    first_stage_weight: float | None = None
    aggregation: str = "maxp"
    overlap: int = 0
    sentences: int = 2
    explain: bool = False
    offset: int = 0
    facets: tuple[str, ...] = ()
    facet_values: int = 10
    search: SearchOptions = field(default_factory=SearchOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "facets", tuple(check_facets(self.facets, self.facet_values)))
        if self.top < 1:
            raise UsageError(f"The number of results must be at least 1, not {self.top}.")
        if self.offset < 0:
            raise UsageError(f"The offset must be at least 0, not {self.offset}.")
        if self.rerank_depth is not None:
            check_rerank_depth(self.rerank_depth)
        if self.first_stage_weight is not None and not 0 <= self.first_stage_weight < float("inf"):
            raise UsageError(f"The first-stage weight must be finite and at least 0, not {self.first_stage_weight:g}.")
        check_windows(self.aggregation, self.overlap)
        if self.sentences < 0:
            raise UsageError(f"The number of answer sentences must be at least 0, not {self.sentences}.")

    def to_dict(self) -> dict[str, Any]:
        """The options as a JSON object."""
        return asdict(self)


def check_rerank_depth(depth: int) -> None:
    """Raise UsageError if ``depth`` is less than 1."""
    check_type("The rerank depth", depth, int)
    if depth < 1:
        raise UsageError(f"The rerank depth must be at least 1, not {depth}.")


def check_windows(aggregation: str, overlap: int) -> None:
    """Raise UsageError if there is no such aggregation, or ``overlap`` is less than 0."""
    check_type("The aggregation", aggregation, str)
    check_type("The overlap", overlap, int)
    if aggregation not in AGGREGATIONS:
        raise UsageError(f"Unknown aggregation {aggregation!r}. Choose from {', '.join(AGGREGATIONS)}.")
    if overlap < 0:
        raise UsageError(f"The overlap of windows must be at least 0 sentences, not {overlap}.")
