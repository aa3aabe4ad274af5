"""Threshold and calibration: fitted on dev, written to the model folder, used by the reranker."""

import json
import shutil

import numpy as np
import pytest
from scipy.special import expit

from bioqa.errors import ModelError
from bioqa.evaluate.classification import calibration_error
from bioqa.rerank.reranker import Reranker
from bioqa.train.calibration import cross_validated, fit
from tests.train.training_files import pairs

A, B = 0.6, -1.3


@pytest.fixture
def sample():
    """Logits of 20,000 pairs, and labels drawn with the probability σ(A·logit + B)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(1, 3, 20_000)
    return logits, rng.random(20_000) < expit(A * logits + B)


def test_platt_scaling_recovers_slope_and_intercept(sample):
    found = fit(*sample, "platt")
    assert (found.a, found.b) == (pytest.approx(A, abs=0.03), pytest.approx(B, abs=0.05))


def test_temperature_scaling_recovers_the_slope(sample):
    logits, _ = sample
    labels = np.random.default_rng(1).random(len(logits)) < expit(A * logits)
    found = fit(logits, labels, "temperature")
    assert (found.a, found.b) == (pytest.approx(A, abs=0.03), 0.0)


def test_calibration_never_reverses_the_ranking(sample):
    logits, labels = sample
    assert fit(logits, ~labels, "platt").a > 0


def test_separable_pairs_do_not_become_overconfident():
    found = fit(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]), "platt")
    assert 0.5 < expit(found.a * 2 + found.b) < 0.95


def test_cross_validated_probabilities_are_from_fits_to_other_questions(sample):
    logits, labels = (part[:2000] for part in sample)
    groups = np.repeat(np.arange(200), 10)
    calibrated = cross_validated(logits, labels, groups, "platt")
    assert calibration_error(labels, calibrated) < 0.05 < calibration_error(labels, expit(logits))
    other = labels.copy()
    other[groups == 0] = ~other[groups == 0]
    again = cross_validated(logits, other, groups, "platt")
    np.testing.assert_array_equal(again[groups == 0], calibrated[groups == 0])
    assert (again != calibrated).any()


def test_a_reranker_gives_calibrated_probabilities_and_its_threshold(trained):
    decision = json.loads((trained / "bioqa.json").read_text())
    reranker = Reranker(trained, device="cpu", engine="exact")
    dev = pairs(20, seed=4)  # the pairs on which the threshold was chosen
    scored = reranker.score_pairs([(pair.question, pair.passage) for pair in dev])
    labels = np.array([pair.label for pair in dev], dtype=bool)
    assert reranker.threshold == decision["threshold"]
    predicted = scored.scores >= reranker.threshold
    f1 = 2 * (predicted & labels).sum() / (predicted.sum() + labels.sum())
    assert f1 == pytest.approx(decision["dev"]["f1"], abs=1e-6)
    assert f1 > 0.7
    slope, offset = decision["calibration"]["a"], decision["calibration"]["b"]
    np.testing.assert_allclose(scored.probabilities, expit(slope * scored.logits + offset), atol=1e-5)
    np.testing.assert_allclose(scored.scores, expit(scored.logits), atol=1e-5)
    assert decision["ece_after"] <= 0.15


def test_a_folder_without_settings_has_no_threshold(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "model")
    (folder / "bioqa.json").unlink()
    reranker = Reranker(folder, device="cpu", engine="exact")
    scored = reranker.score_pairs([("Which gene?", "CFTR")])
    assert reranker.threshold is None
    np.testing.assert_allclose(scored.probabilities, expit(scored.logits), atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        '{"threshold": "high"}',
        '{"threshold": NaN}',
        '{"threshold": 0.5, "calibration": {"method": "platt", "a": 1}}',
        '{"calibration": [1, 2]}',
        "[]",
        '{"threshold": 0.5',
    ],
)
def test_damaged_settings_are_refused(content, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "model")
    (folder / "bioqa.json").write_text(content)
    with pytest.raises(ModelError, match=r"bioqa.json is damaged \(.*Train the model again, or delete the file"):
        Reranker(folder, device="cpu", engine="exact")
