"""First-stage scores and logits → one ranking. Nothing else in bioqa orders candidates."""

from collections.abc import Sequence

from bioqa.pipeline.answer import RankedCandidate


def combine(logit: float, first_stage_score: float, weight: float) -> float:
    """The score that reranked candidates are ordered by."""
    return logit + weight * first_stage_score


def rank(
    candidates: Sequence[tuple[str, float]],
    logits: Sequence[float] = (),
    probabilities: Sequence[float] = (),
    weight: float = 0.0,
) -> list[RankedCandidate]:
    """Order (id, first-stage score) candidates, best first in the first stage; equal scores keep its order.

    ``logits`` and ``probabilities`` are those of the first candidates. They come first, by ``combine``; the others follow in the
    first stage's order, with scores below theirs that keep the first stage's distances.
    """
    reranked = sorted(
        (
            RankedCandidate(id, combine(logit, score, weight), score, place, logit, probability)
            for place, ((id, score), logit, probability) in enumerate(
                zip(candidates[: len(logits)], logits, probabilities, strict=True)
            )
        ),
        key=lambda one: -one.score,
    )
    rest = candidates[len(logits) :]
    if not rest:
        return reranked
    below = reranked[-1].score - 1 - rest[0][1] if reranked else 0.0
    return reranked + [
        RankedCandidate(id, below + score, score, place) for place, (id, score) in enumerate(rest, start=len(logits))
    ]
