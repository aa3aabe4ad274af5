"""Classification measures, by hand and beside sentence-transformers' own evaluator."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from sentence_transformers.cross_encoder.evaluation import CrossEncoderClassificationEvaluator

from bioqa.errors import SourceError, UsageError
from bioqa.evaluate.classification import (
    as_probabilities,
    best_threshold,
    calibration_error,
    classification_measures,
    published_measures,
)


class Scores:
    """What the evaluator needs of a model that gives these scores."""

    num_labels = 1

    def __init__(self, scores):
        self.scores = scores
        self.model_card_data = self

    def predict(self, *_, **__):
        return self.scores

    def set_evaluation_metrics(self, *_):
        pass


def theirs(labels, scores):
    evaluator = CrossEncoderClassificationEvaluator([["a", "b"]] * len(labels), labels, write_csv=False)
    return evaluator(Scores(scores))


def random_pairs(seed, size=50):
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, 2, rng.integers(0, size)), [0, 1])
    return labels, rng.normal(size=len(labels)) + rng.choice([-2, 0, 1]) * labels


@pytest.mark.parametrize("seed", range(60))
def test_published_measures_are_those_of_sentence_transformers(seed):
    labels, scores = random_pairs(seed)
    assert len(set(scores)) == len(scores)
    assert published_measures(labels, scores)._asdict() == pytest.approx(theirs(labels, scores), abs=1e-12)


def test_published_measures_of_single_precision_scores():
    labels, scores = random_pairs(3, 500)
    scores = scores.astype(np.float32)
    assert published_measures(labels, scores)._asdict() == pytest.approx(theirs(labels, scores), abs=1e-6)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("measure", ["f1", "accuracy"])
def test_no_threshold_is_better_than_the_best_even_with_ties(seed, measure):
    labels, scores = random_pairs(seed)
    scores = np.round(scores)
    value, threshold = best_threshold(labels, scores, measure)
    reached = asdict(classification_measures(labels, scores, threshold))[measure]
    others = [*np.unique(scores), scores.max() + 1]
    best = max(asdict(classification_measures(labels, scores, float(other)))[measure] for other in others)
    assert value == pytest.approx(reached) == pytest.approx(best)


def test_measures_by_hand():
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.3, 0.7, 0.2, 0.2, 0.1, 0.1])
    found = classification_measures(labels, scores, 0.7)
    assert (found.n, found.positives, found.threshold) == (8, 3, 0.7)
    counts = (found.true_positives, found.false_positives, found.true_negatives, found.false_negatives)
    assert counts == (2, 1, 4, 1)
    assert found.accuracy == 6 / 8
    assert found.precision == found.recall == found.f1 == pytest.approx(2 / 3)
    assert found.average_precision == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found.roc_auc == pytest.approx(14 / 15)
    assert found.mcc == pytest.approx((2 * 4 - 1 * 1) / math.sqrt(3 * 3 * 5 * 5))
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.49 + 0.49 + 0.04 + 0.04 + 0.01 + 0.01) / 8)


def test_calibration_error_by_hand():
    # Bins of width 1/15: two pairs at 0.1 with half positive, two at 0.9 with half positive.
    assert calibration_error(np.array([0, 1, 1, 0]), np.array([0.1, 0.1, 0.9, 0.9])) == pytest.approx(0.4)
    assert calibration_error(np.array([0, 1]), np.array([0.0, 1.0])) == 0.0
    assert calibration_error(np.array([0, 1, 0, 1]), np.full(4, 0.5)) == 0.0


def test_scores_outside_0_to_1_are_logits_for_calibration():
    labels, logits = np.array([0, 1, 1, 0]), np.array([-2.0, 3.0, 0.5, 0.0])
    probabilities = 1 / (1 + np.exp(-logits))
    assert as_probabilities(logits) == pytest.approx(probabilities)
    assert as_probabilities(probabilities) == pytest.approx(probabilities)
    found, given = (
        classification_measures(labels, logits, 0.0),
        classification_measures(labels, logits, 0.0, probabilities=probabilities),
    )
    assert found == given == classification_measures(labels, logits, 0.0, probabilities=probabilities)
    assert found.brier == pytest.approx(np.mean((probabilities - labels) ** 2))
    other = classification_measures(labels, logits, 0.0, probabilities=np.array([0.0, 1.0, 1.0, 0.0]))
    assert (other.brier, other.calibration_error, other.f1) == (0.0, 0.0, found.f1)


def test_a_threshold_above_all_scores_says_nothing_is_relevant():
    found = classification_measures(np.array([0, 1]), np.array([0.1, 0.9]), 0.95)
    assert (found.precision, found.recall, found.f1, found.mcc, found.true_negatives) == (0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("labels", "scores", "problem"),
    [
        ([], [], "no pairs"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "All 3 labels are 1"),
        ([0, 0], [0.1, 0.2], "All 2 labels are 0"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "label of pair 3 is 2"),
        ([0, float("nan")], [0.1, 0.2], "label of pair 2 is nan"),
        (["no", "yes"], [0.1, 0.2], "labels are not numbers"),
        ([0, 1], [0.1, float("nan")], "score of pair 2 is nan"),
        ([0, 1], [float("inf"), 0.1], "score of pair 1 is inf"),
    ],
)
@pytest.mark.parametrize("judge", [lambda y, x: classification_measures(y, x, 0.5), best_threshold, published_measures])
def test_pairs_that_cannot_be_judged_are_named(labels, scores, problem, judge):
    with pytest.raises(SourceError, match=problem):
        judge(np.array(labels), np.array(scores))


def test_invalid_arguments_are_refused():
    labels, scores = np.array([0, 1]), np.array([0.1, 0.9])
    with pytest.raises(UsageError, match="2 labels but 3 scores"):
        classification_measures(labels, np.array([0.1, 0.2, 0.3]), 0.5)
    with pytest.raises(UsageError, match="threshold must be a finite number"):
        classification_measures(labels, scores, float("nan"))
    with pytest.raises(UsageError, match="must be between 0 and 1"):
        classification_measures(labels, scores, 0.5, probabilities=np.array([0.5, 1.5]))
    with pytest.raises(UsageError, match="1 probabilities"):
        classification_measures(labels, scores, 0.5, probabilities=np.array([0.5]))
    with pytest.raises(UsageError, match="not by 'mcc'"):
        best_threshold(labels, scores, "mcc")
    with pytest.raises(UsageError, match="one-dimensional"):
        classification_measures(np.array([[0, 1]]), scores, 0.5)
