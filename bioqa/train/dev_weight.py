"""The first-stage weight of a trained model, chosen on dev.

Dev pairs carry no first-stage scores, and ranking only the labeled passages of a question would not do: their negatives are often
BM25's best passages, so that a high BM25 score would speak against a passage. Instead the dev passages serve as a small corpus:
BM25, on Lucene's scale, retrieves the best ``CANDIDATES`` of them for each question, the model scores these, and the weight with
the highest nDCG@10 is chosen, as by ``bioqa tune``. Passages not labeled relevant for the question count as not relevant.

In a corpus of few passages BM25's scores are lower and its ranking is easier than in an index, so with fewer than ``MIN_QUESTIONS``
questions or ``MIN_PASSAGES`` passages the weight of the base model is kept. ``bioqa tune`` chooses it on any index.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bioqa.evaluate.tune_weight import choose_weight
from bioqa.pairs.read_pairs import column_values
from bioqa.pipeline.combine import rank
from bioqa.retrieve.memory import MemoryRetriever
from bioqa.types import Article

if TYPE_CHECKING:
    import pyarrow as pa

CANDIDATES = 50
"""Passages retrieved and reranked per question, as on a CPU by default."""
MIN_QUESTIONS, MIN_PASSAGES = 50, 500
MAX_QUESTIONS = 200
"""Questions that the weight is chosen on; of more, a random sample."""
MEASURE = "ndcg@10"
SEED = 42

ScorePairs = Callable[[Sequence[tuple[str, str]]], NDArray[Any]]
"""(question, passage) pairs → their logits."""


@dataclass(frozen=True, slots=True)
class DevWeight:
    """A first-stage weight, how it was chosen, and the mean nDCG@10 with each weight that was tried (empty: none was)."""

    weight: float
    chosen_by: str
    tried: dict[float, float] = field(default_factory=dict)


def choose_dev_weight(dev: "pa.Table | None", base: float, logits: ScorePairs) -> DevWeight:
    """The weight with the highest nDCG@10 on dev, or ``base``, that of the base model, if there are too few dev pairs."""
    if dev is None:
        return DevWeight(base, "base model: there are no dev pairs")
    questions: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    numbers: dict[str, str] = {}  # passage → its id
    columns = [column_values(dev, name) for name in ("question_id", "question", "passage", "label")]
    for id, question, passage, label in zip(*columns, strict=True):
        questions.setdefault(id, question)
        number = numbers.setdefault(passage, str(len(numbers)))
        if label >= 0.5:
            relevant.setdefault(id, {})[number] = 1
    if len(relevant) < MIN_QUESTIONS or len(numbers) < MIN_PASSAGES:
        return DevWeight(
            base,
            f"base model: dev has {len(relevant):,} questions with a relevant passage and {len(numbers):,} passages, fewer than "
            f"{MIN_QUESTIONS} or {MIN_PASSAGES}",
        )
    asked = sorted(relevant)
    if len(asked) > MAX_QUESTIONS:
        asked = sorted(random.Random(SEED).sample(asked, MAX_QUESTIONS))
    passages = list(numbers)
    retriever = MemoryRetriever(Article(number, "", passage) for passage, number in numbers.items())
    found = retriever.search_many([questions[id] for id in asked], CANDIDATES)
    pairs = [
        (questions[id], passages[int(candidate.id)])
        for id, candidates in zip(asked, found, strict=True)
        for candidate in candidates
    ]
    scores = iter(logits(pairs).tolist() if pairs else ())
    ranked = {}
    for id, candidates in zip(asked, found, strict=True):
        own = [next(scores) for _ in candidates]
        ranked[id] = rank([(one.id, one.score) for one in candidates], own, own)
    tuning = choose_weight(ranked, relevant, base, measure=MEASURE, seed=SEED)
    return DevWeight(
        tuning.best.weight,
        f"highest nDCG@10 of {tuning.questions} dev questions, the dev passages ranked by BM25 and this model",
        {point.weight: round(point.mean, 4) for point in tuning.grid},
    )
