"""First-stage scores and logits become one ranking."""

import pytest

from bioqa.pipeline.combine import combine, rank

CANDIDATES = [("a", 9.0), ("b", 8.0), ("c", 8.0), ("d", 5.5), ("e", 2.0)]


def test_a_score_is_the_logit_and_the_weighted_first_stage_score():
    assert combine(1.5, 4.0, 0.25) == 2.5
    assert combine(1.5, 4.0, 0.0) == 1.5


def test_without_logits_the_first_stages_order_and_scores_remain():
    ranked = rank(CANDIDATES)
    assert [(one.id, one.score, one.first_stage_score) for one in ranked] == [(id, s, s) for id, s in CANDIDATES]
    assert [one.position for one in ranked] == [0, 1, 2, 3, 4]
    assert all(one.logit is None and one.probability is None for one in ranked)


def test_all_candidates_reranked_are_in_the_order_of_the_combined_score():
    logits, probabilities = [0.0, 2.0, -1.0, 3.0, 1.0], [0.5, 0.9, 0.3, 0.95, 0.7]
    assert [one.id for one in rank(CANDIDATES, logits, probabilities)] == ["d", "b", "e", "a", "c"]
    ranked = rank(CANDIDATES, logits, probabilities, 0.5)
    assert [one.id for one in ranked] == ["b", "d", "a", "c", "e"]
    for one in ranked:
        assert (one.id, one.first_stage_score) == CANDIDATES[one.position]
        assert (one.logit, one.probability) == (logits[one.position], probabilities[one.position])
        assert one.score == one.logit + 0.5 * one.first_stage_score


def test_equal_scores_keep_the_first_stages_order():
    assert [one.id for one in rank(CANDIDATES, [1.0] * 5, [0.7] * 5)] == ["a", "b", "c", "d", "e"]
    assert [one.id for one in rank(CANDIDATES, [0.0, 1.0, 1.0, 1.0, 0.0], [0.5] * 5)] == ["b", "c", "d", "a", "e"]
    # Different logits, but equal combined scores.
    assert [one.id for one in rank(CANDIDATES[:2], [0.0, 0.5], [0.5] * 2, 0.5)] == ["a", "b"]


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_candidates_beyond_the_depth_follow_in_the_first_stages_order(weight):
    ranked = rank(CANDIDATES, [-30.0, -20.0], [0.0, 0.0], weight)
    assert [one.id for one in ranked] == ["b", "a", "c", "d", "e"]
    assert [one.logit for one in ranked] == [-20.0, -30.0, None, None, None]
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < scores[1]
    # Differences are those of the first stage.
    assert [scores[2] - scores[3], scores[3] - scores[4]] == pytest.approx([2.5, 3.5])
    assert [one.first_stage_score for one in ranked] == [8.0, 9.0, 8.0, 5.5, 2.0]


def test_nothing_to_rank():
    assert rank([]) == []


def test_a_logit_without_its_probability_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        rank(CANDIDATES, [1.0, 2.0], [0.5])
