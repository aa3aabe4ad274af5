"""First-stage scores and logits → one ranking. Nothing else in bioqa orders candidates."""

from collections.abc import Mapping, Sequence

from bioqa.pipeline.answer import RankedCandidate

BM25_SPREAD = 7.5
"""BM25 points that a min-max score of 1 stands for: the median difference between the first and the 200th score of the questions of
BioASQ 9 over snippet texts (half of them between 4.7 and 10.2; over SciFact's abstracts the median is 11.5).
"""


def default_weight(scale: str, bm25_weight: float, weights: Mapping[str, float]) -> float:
    """The factor of first-stage scores of a kind (``Retriever.scale``): the reranker's own in ``weights``; if missing, for "minmax"
    that of BM25 times ``BM25_SPREAD``, as a weight chosen for BM25 would hardly count for scores from 0 to 1; for others 0.
    """
    if scale == "bm25":
        return bm25_weight
    return weights.get(scale, bm25_weight * BM25_SPREAD if scale == "minmax" else 0.0)


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
