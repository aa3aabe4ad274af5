"""Calibrated probabilities: a slope and an intercept for the logits, fitted on dev pairs.

Platt scaling (Platt, "Probabilistic outputs for support vector machines", 1999) is probability = σ(a·logit + b); temperature
scaling (Guo et al., ICML 2017) is the same with b = 0 and temperature 1/a. Both are fitted by maximum likelihood with Platt's
targets (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2) instead of 1 and 0, which avoid overconfidence on a small dev set.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from bioqa.rerank.model_folder.settings import Calibration

FOLDS = 5
MIN_SLOPE = 1e-3
"""A negative slope would reverse the ranking."""


def fit(logits: NDArray[Any], labels: NDArray[Any], method: str) -> Calibration:
    """Fit the calibration of n logits to labels 0 and 1 (both of shape (n,)) by ``method``: "platt" or "temperature"."""
    x = np.asarray(logits, dtype=np.float64)
    positives = int(np.sum(labels))
    high, low = (positives + 1) / (positives + 2), 1 / (len(x) - positives + 2)
    target = np.where(np.asarray(labels) > 0, high, low)
    has_intercept = method == "platt"

    def negative_log_likelihood(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = parameters[0] * x + parameters[1]
        error = expit(z) - target
        return float(np.mean(np.logaddexp(0, z) - target * z)), np.array([np.mean(error * x), np.mean(error)])

    found = minimize(
        negative_log_likelihood,
        np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(MIN_SLOPE, None), (None, None) if has_intercept else (0, 0)],
        options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-10},
    )
    a, b = (float(value) for value in found.x)
    return Calibration(method, a, b)


def cross_validated(
    logits: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any], method: str
) -> NDArray[np.float64]:
    """Calibrated probabilities of n pairs, each from a fit to the other folds: float64 of shape (n,).

    ``groups`` (shape (n,)) is the question of each pair; all pairs of a question are in the same of the ``FOLDS`` folds. A
    calibration error measured on the pairs of the fit itself would be optimistic.
    """
    _, question = np.unique(groups, return_inverse=True)
    folds = np.random.default_rng(0).permutation(question.max() + 1)[question] % FOLDS
    probabilities = np.empty(len(logits), dtype=np.float64)
    for fold in range(FOLDS):
        rest = folds != fold
        if rest.all():
            continue
        both_classes = 0 < np.sum(labels[rest]) < rest.sum()  # otherwise all pairs are needed for a fit
        fitted = fit(logits[rest], labels[rest], method) if both_classes else fit(logits, labels, method)
        probabilities[~rest] = expit(fitted.a * np.asarray(logits[~rest], dtype=np.float64) + fitted.b)
    return probabilities
