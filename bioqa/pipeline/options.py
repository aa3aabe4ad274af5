"""The options of a pipeline, as one value."""

from dataclasses import asdict, dataclass, field
from typing import Any

from bioqa.errors import UsageError
from bioqa.retrieve.options import SearchOptions

AGGREGATIONS = {
    "maxp": "the highest logit of its windows: it answers as well as its best part does",
    "firstp": "the logit of its first window, which is all that is read",
    "meanp": "the mean logit of its windows",
    "truncate": "the logit of as much of its text as fits, up to the token",
}
"""Name → the logit of an article that is longer than the reranker reads. The first two are MaxP and FirstP of Dai and Callan (SIGIR
2019); their SumP, which favours longer articles, is a mean here."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How a question is answered.

    ``top`` results are wanted. ``rerank_depth`` candidates are reranked (None: 50 on CPU and 100 on GPU, and never fewer than
    ``top``); those behind them keep the first stage's order. ``first_stage_weight`` times the first-stage score is added to the
    logit (None: the weight that the reranker's folder names). ``aggregation``, a key of ``AGGREGATIONS``, and ``overlap``, the
    sentences shared by adjacent windows, say how articles are scored that are longer than the reranker reads. ``sentences`` is the
    number of answer sentences of each hit; ``explain`` has each hit say how its first-stage score is computed. ``search`` is for
    the first stage.

    Raises:
        UsageError: a value is out of range.
    """

    top: int = 10
    rerank_depth: int | None = None
    first_stage_weight: float | None = None
    aggregation: str = "maxp"
    overlap: int = 0
    sentences: int = 2
    explain: bool = False
    search: SearchOptions = field(default_factory=SearchOptions)

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UsageError(f"The number of results must be 1 or more, not {self.top}.")
        if self.rerank_depth is not None and self.rerank_depth < 1:
            raise UsageError(f"The rerank depth must be 1 or more, not {self.rerank_depth}.")
        if self.first_stage_weight is not None and not 0 <= self.first_stage_weight < float("inf"):
            raise UsageError(f"The first-stage weight must be finite and 0 or more, not {self.first_stage_weight:g}.")
        if self.aggregation not in AGGREGATIONS:
            raise UsageError(f"There is no aggregation {self.aggregation!r}. Choose {', '.join(AGGREGATIONS)}.")
        if self.overlap < 0:
            raise UsageError(f"Windows must overlap by 0 or more sentences, not {self.overlap}.")
        if self.sentences < 0:
            raise UsageError(f"The number of answer sentences must be 0 or more, not {self.sentences}.")

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON holds them."""
        return asdict(self)
