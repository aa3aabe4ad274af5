"""First-stage scores and logits → one ranking. Nothing else in bioqa orders candidates."""

from collections.abc import Sequence

from bioqa.pipeline.answer import RankedCandidate


def combine(logit: float, first_stage_score: float, weight: float) -> float:
    """The score by which reranked candidates are ordered."""
    return logit + weight * first_stage_score


def rank(
    candidates: Sequence[tuple[str, float]],
    logits: Sequence[float] = (),
    probabilities: Sequence[float] = (),
    weight: float = 0.0,
) -> list[RankedCandidate]:
    """Rank (id, first-stage score) candidates, given best first.

    ``logits`` and ``probabilities`` belong to the first candidates, which are ordered by ``combine``; equal scores keep the first
    stage's order. The other candidates follow in the first stage's order, with scores below the reranked ones and the same
    differences as their first-stage scores.
    """
    depth = len(logits)
    head = [
        RankedCandidate(id, combine(logit, score, weight), score, position, logit, probability)
        for position, ((id, score), logit, probability) in enumerate(
            zip(candidates[:depth], logits, probabilities, strict=True)
        )
    ]
    head.sort(key=lambda one: -one.score)
    tail = candidates[depth:]
    shift = head[-1].score - 1 - tail[0][1] if head and tail else 0.0
    return head + [
        RankedCandidate(id, score + shift, score, position) for position, (id, score) in enumerate(tail, start=depth)
    ]


def reweight(ranked: Sequence[RankedCandidate], weight: float) -> list[RankedCandidate]:
    """What ``rank`` returns for the candidates of an earlier ranking with another weight."""
    candidates = sorted(ranked, key=lambda one: one.position)
    head = [one for one in candidates if one.logit is not None]
    return rank(
        [(one.id, one.first_stage_score) for one in candidates],
        [one.logit or 0.0 for one in head],
        [one.probability or 0.0 for one in head],
        weight,
    )
