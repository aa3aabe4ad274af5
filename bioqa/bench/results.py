"""The results of a suite, as in ``report.json``, and the details that only the HTML report shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Latency:
    """Wall time of a stage, one question at a time: median and 95th percentile in milliseconds, over ``questions`` questions."""

    questions: int
    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """The latency from the seconds of each question."""
        import numpy as np

        p50, p95 = np.percentile(np.asarray(seconds), [50, 95]) * 1000
        return cls(len(seconds), round(float(p50), 3), round(float(p95), 3))


@dataclass(frozen=True, slots=True)
class RerankCost:
    """The cost of reranking.

    ``candidates`` were scored in ``texts`` texts (an article longer than the model's maximum length has several); ``cut`` of them
    were not read in full. ``made`` is the day, ``setting`` the model's name, device, engine, dtype, batch size and maximum length.
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
class BaselineComparison:
    """A system's mean minus the baseline's; ``p`` of the paired two-sided t-test, and ``corrected`` for all comparisons."""

    difference: float
    p: float
    corrected: float


@dataclass(frozen=True, slots=True)
class PairClassification:
    """Gold passages against hard negatives as binary classification, on the model's own scores.

    ``frozen`` has the measures at ``threshold``, which was chosen beforehand (``origin`` says where); ``published`` those at the
    best threshold of these same pairs, as published model cards report them. ``calibration`` is the method that turns logits into
    the probabilities whose calibration error is given.
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
    """One system on one collection. ``comparisons`` with the baseline is empty for the baseline itself.

    ``optimistic`` has the measures after adding the relevant passages that the first stage missed to the candidates: an upper
    bound that no search reaches. ``first_stage_weight`` is None without a reranker.
    """

    name: str
    run: str
    measures: dict[str, float]
    comparisons: dict[str, BaselineComparison]
    first_stage: Latency
    rerank: RerankCost | None = None
    first_stage_weight: float | None = None
    classification: PairClassification | None = None
    optimistic: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class CollectionResult:
    """All systems on one collection.

    ``relevant`` counts relevant passages over all questions; ``absent`` of them are not in the collection, and still count in
    the measures.
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
    """A suite's results; ``questions`` is the limit of questions per collection, or None."""

    suite: str
    description: str
    made: str
    questions: int | None
    baseline: str
    environment: dict[str, Any]
    settings: dict[str, Any]
    collections: list[CollectionResult]
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return asdict(self)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The single values in nested dictionaries and lists, with dotted names; an entry of a list goes by its "name"."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        for number, inner in enumerate(value, start=1):
            yield from flatten(inner, f"{name}.{inner.get('name', number)}")
    else:
        yield name, value


@dataclass(frozen=True, slots=True, eq=False)
class LabelledScores:
    """Scores of n passages, each array of shape (n,): ``labels`` int64 (1 relevant, 0 not), ``scores`` float32 on the model's own
    scale, and ``probabilities`` float32, calibrated if the model is.
    """

    labels: "NDArray[np.int64]"
    scores: "NDArray[np.float32]"
    probabilities: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A passage of an example: ``text`` is shortened, ``gold`` says whether it is relevant."""

    id: str
    title: str
    text: str
    gold: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A question on which a system and the baseline differ: both values of the first measure, and both systems' top passages."""

    question: str
    baseline: float
    system: float
    relevant: int
    baseline_passages: list[ShownPassage]
    system_passages: list[ShownPassage]


@dataclass(frozen=True, slots=True)
class SystemDetails:
    """What the HTML report shows of a system besides its result; not in ``report.json``.

    ``differences`` from the baseline in the first measure, question by question; ``candidates`` are those reranked, ``pairs``
    those classified.
    """

    differences: list[float] = field(default_factory=list)
    candidates: LabelledScores | None = None
    pairs: LabelledScores | None = None
    best: list[Example] = field(default_factory=list)
    worst: list[Example] = field(default_factory=list)
