"""What a suite found out, as ``report.json`` holds it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Latency:
    """Wall time of a stage for one question at a time: median and 95th percentile in milliseconds, over ``questions``."""

    questions: int
    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """From the seconds of each question."""
        import numpy as np

        p50, p95 = np.percentile(np.asarray(seconds), [50, 95]) * 1000
        return cls(len(seconds), round(float(p50), 3), round(float(p95), 3))


@dataclass(frozen=True, slots=True)
class RerankCost:
    """What reranking took, and on what.

    ``candidates`` were scored in ``texts`` (an article longer than the model reads takes several); ``cut`` of them have text that
    was not read. ``made`` is the day, ``setting`` the model's name, device, engine, dtype, batch size and maximum length.
    """

    latency: Latency
    candidates: int
    texts: int
    cut: int
    candidates_per_second: float
    texts_per_second: float
    made: str
    setting: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A system's mean less the baseline's; ``p`` of the paired two-sided t-test, and ``corrected`` for all comparisons beside."""

    difference: float
    p: float
    corrected: float


@dataclass(frozen=True, slots=True)
class PairClassification:
    """Gold passages against hard negatives as binary classification, on the model's own scores.

    ``frozen`` has the measures at ``threshold``, which was chosen before (``origin`` says where); ``published`` those at the best
    threshold of these same pairs, as published model cards have them. ``calibration`` says how probabilities, which the calibration
    error is of, are made of logits.
    """

    positives: int
    negatives: int
    threshold: float
    origin: str
    calibration: str
    frozen: dict[str, Any]
    published: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SystemResult:
    """One system on one collection. ``comparisons`` with the baseline are empty for the baseline itself.

    ``optimistic`` holds the measures with the relevant passages that the first stage missed added to the candidates: what no
    search would give. ``first_stage_weight`` is None where nothing was reranked.
    """

    name: str
    run: str
    measures: dict[str, float]
    comparisons: dict[str, Comparison]
    first_stage: Latency
    rerank: RerankCost | None = None
    first_stage_weight: float | None = None
    classification: PairClassification | None = None
    optimistic: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class CollectionResult:
    """All systems on one collection.

    ``relevant`` counts relevant passages over all questions; ``absent`` of them are not in the collection, and stay in the
    measures.
    """

    name: str
    definition: str
    passages: int
    questions: int
    relevant: int
    absent: int
    qrels: str
    systems: list[SystemResult]


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """A suite's results; ``questions`` is the limit that was set on each collection, None for none."""

    suite: str
    description: str
    made: str
    questions: int | None
    baseline: str
    environment: dict[str, Any]
    settings: dict[str, Any]
    collections: list[CollectionResult]
    format: int = FORMAT


def as_json(result: SuiteResult) -> dict[str, Any]:
    """The result as ``report.json`` holds it."""
    return asdict(result)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """n passages: ``labels`` int64 (1 relevant, 0 not), ``scores`` float32 on the model's own scale, and ``probabilities`` float32,
    calibrated where the model is; arrays of shape (n,).
    """

    labels: "NDArray[np.int64]"
    scores: "NDArray[np.float32]"
    probabilities: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A passage of an example: ``text`` shortened, ``gold`` whether it is relevant."""

    id: str
    title: str
    text: str
    gold: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A question on which a system and the baseline differ: values of the first measure, and the first passages of both."""

    question: str
    baseline: float
    system: float
    relevant: int
    baseline_passages: list[ShownPassage]
    system_passages: list[ShownPassage]


@dataclass(frozen=True, slots=True)
class Details:
    """What the page shows of a system beside its result; not in ``report.json``.

    ``differences`` of the first measure, question by question; ``candidates`` are the reranked ones, ``pairs`` the classified.
    """

    differences: list[float] = field(default_factory=list)
    candidates: Labelled | None = None
    pairs: Labelled | None = None
    best: list[Example] = field(default_factory=list)
    worst: list[Example] = field(default_factory=list)
