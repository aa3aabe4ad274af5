"""Threshold and calibration: fitted to dev, written to the model folder, used by the reranker."""

import json
import shutil

import numpy as np
import pytest
from scipy.special import expit

from bioqa.errors import ModelError
from bioqa.evaluate.classification import calibration_error
from bioqa.rerank.reranker import Reranker
from bioqa.train.calibration import fit, held_out
from tests.train.training_files import pairs

A, B = 0.6, -1.3


@pytest.fixture
def sample():
    """Logits of 20,000 pairs, and labels drawn with the probability σ(A·logit + B)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(1, 3, 20_000)
    return logits, rng.random(20_000) < expit(A * logits + B)


def test_platt_scaling_finds_the_slope_and_the_offset(sample):
    found = fit(*sample, "platt")
    assert (found.a, found.b) == (pytest.approx(A, abs=0.03), pytest.approx(B, abs=0.05))


def test_temperature_scaling_finds_the_slope(sample):
    logits, _ = sample
    labels = np.random.default_rng(1).random(len(logits)) < expit(A * logits)
    found = fit(logits, labels, "temperature")
    assert (found.a, found.b) == (pytest.approx(A, abs=0.03), 0.0)


def test_a_calibration_never_turns_the_order(sample):
    logits, labels = sample
    assert fit(logits, ~labels, "platt").a > 0


def test_separable_pairs_do_not_become_certain():
    found = fit(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]), "platt")
    assert 0.5 < expit(found.a * 2 + found.b) < 0.95


def test_held_out_probabilities_are_of_fits_to_other_questions(sample):
    logits, labels = (part[:2000] for part in sample)
    groups = np.repeat(np.arange(200), 10)
    calibrated = held_out(logits, labels, groups, "platt")
    assert calibration_error(labels, calibrated) < 0.05 < calibration_error(labels, expit(logits))
    other = labels.copy()
    other[groups == 0] = ~other[groups == 0]
    again = held_out(logits, other, groups, "platt")
    np.testing.assert_array_equal(again[groups == 0], calibrated[groups == 0])
    assert (again != calibrated).any()


def test_a_reranker_gives_calibrated_probabilities_and_its_threshold(trained):
    decision = json.loads((trained / "bioqa.json").read_text())
    reranker = Reranker(trained, device="cpu", engine="exact")
    given = pairs(20, seed=4)  # the dev pairs that it was chosen on
    scored = reranker.score_pairs([(pair.question, pair.passage) for pair in given])
    labels = np.array([pair.label for pair in given], dtype=bool)
    assert reranker.threshold == decision["threshold"]
    said = scored.scores >= reranker.threshold
    f1 = 2 * (said & labels).sum() / (said.sum() + labels.sum())
    assert f1 == pytest.approx(decision["dev"]["f1"], abs=1e-6)
    assert f1 > 0.7
    slope, offset = decision["calibration"]["a"], decision["calibration"]["b"]
    np.testing.assert_allclose(scored.probabilities, expit(slope * scored.logits + offset), atol=1e-5)
    np.testing.assert_allclose(scored.scores, expit(scored.logits), atol=1e-5)
    assert decision["ece_after"] <= 0.15


def test_a_folder_without_the_file_has_no_threshold(trained, tmp_path):
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
def test_a_damaged_file_is_refused(content, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "model")
    (folder / "bioqa.json").write_text(content)
    with pytest.raises(ModelError, match=r"bioqa.json is damaged \(.*Train the model again, or delete the file"):
        Reranker(folder, device="cpu", engine="exact")
