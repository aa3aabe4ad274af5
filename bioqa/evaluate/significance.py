"""Paired significance tests between two runs over the same queries (scipy), and corrections for multiple tests."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioqa.errors import UsageError
from bioqa.evaluate.ranking import mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 9999
SEED = 42

MeasureValues = Mapping[str, Mapping[str, float]]
"""Measure → query id → value, as ``ranking.evaluate_run`` gives them."""


@dataclass(frozen=True, slots=True)
class RunDifference:
    """How a run differs from the baseline in one measure, over the same queries.

    ``difference`` is that of the means, positive if the run is better; ``p`` the p-value of the paired test, and ``corrected``
    the p-value corrected for all tests made together. ``better``, ``equal`` and ``worse`` count queries.
    """

    run: str
    measure: str
    difference: float
    p: float
    corrected: float
    better: int
    equal: int
    worse: int


def compare_runs(
    baseline: MeasureValues, others: Mapping[str, MeasureValues], test: str = "student", correction: str | None = "holm"
) -> list[RunDifference]:
    """Compare each of ``others`` (by name) with the baseline in each measure; the correction is for all these tests together.

    Raises:
        UsageError: as for ``paired_test`` and ``correct_p_values``.
    """
    pairs = [(run, measure) for run in others for measure in baseline]
    p_values = [paired_test(baseline[measure], others[run][measure], test) for run, measure in pairs]
    adjusted = correct_p_values(p_values, correction) if correction else p_values
    differences = []
    for (run, measure), p, corrected in zip(pairs, p_values, adjusted, strict=True):
        changes = [others[run][measure][query] - value for query, value in baseline[measure].items()]
        better, worse = sum(one > 0 for one in changes), sum(one < 0 for one in changes)
        equal = len(changes) - better - worse
        difference = mean(measure, others[run][measure].values()) - mean(measure, baseline[measure].values())
        differences.append(RunDifference(run, measure, difference, p, corrected, better, equal, worse))
    return differences


def paired_test(baseline: Mapping[str, float], other: Mapping[str, float], test: str = "student") -> float:
    """The two-sided p-value of the paired differences between two systems' values of one measure, query by query.

    ``test`` is "student" (the paired t-test), "wilcoxon" (the signed-rank test), or "fisher" (Fisher's randomization test:
    ``RESAMPLES`` random assignments of each query's two values to the two systems, seeded, all of them where they are no more;
    Smucker, Allan and Carterette, CIKM 2007). It is 1 if no query differs.

    Raises:
        UsageError: an unknown test, mappings of different queries, fewer than two queries, or a value that is not finite.
    """
    import numpy as np

    if test not in _TESTS:
        raise UsageError(f"Unknown test {test!r}. Tests: {', '.join(_TESTS)}.")
    if baseline.keys() != other.keys():
        unshared = ", ".join(sorted(baseline.keys() ^ other.keys())[:3])
        raise UsageError(f"A paired test needs values of the same queries; not in both: {unshared}.")
    if len(baseline) < 2:
        raise UsageError(f"A paired test needs at least two queries, not {len(baseline)}.")
    differences = np.array([other[query] - value for query, value in baseline.items()])
    if not np.isfinite(differences).all():
        raise UsageError("A paired test needs finite values; one is NaN or infinite.")
    return 1.0 if not differences.any() else float(_TESTS[test](differences))


def correct_p_values(p_values: Sequence[float], method: str) -> list[float]:
    """The p-values of a family of tests, corrected so that each can be compared with the significance level.

    ``method`` is "bonferroni" (times the number of tests) or "holm" (its step-down form, which is never weaker; Holm 1979).

    Raises:
        UsageError: an unknown method, or a value that is not in 0 to 1.
    """
    if method not in ("bonferroni", "holm"):
        raise UsageError(f"Unknown correction {method!r}. Corrections: holm, bonferroni.")
    if not all(0 <= p <= 1 for p in p_values):  # false for NaN too
        raise UsageError("P-values must be between 0 and 1.")
    if method == "bonferroni":
        return [min(1.0, p * len(p_values)) for p in p_values]
    adjusted = list(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def format_p_value(p: float) -> str:
    """A p-value as "p < 0.001" or "p = 0.012"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _student(differences: "NDArray[np.float64]") -> float:
    from scipy.stats import ttest_1samp

    with warnings.catch_warnings():
        # If all queries differ by the same amount, scipy warns of lost precision, but its p-value, about 0, is right.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(ttest_1samp(differences, 0.0).pvalue)


def _fisher(differences: "NDArray[np.float64]") -> float:
    import numpy as np
    from scipy.stats import permutation_test

    # With one sample, scipy flips signs, which swaps the two systems of a query.
    resampled = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, batch=1000, rng=SEED
    )
    return float(resampled.pvalue)


def _wilcoxon(differences: "NDArray[np.float64]") -> float:
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue)


_TESTS: dict[str, "Callable[[NDArray[np.float64]], float]"] = {
    "student": _student,
    "fisher": _fisher,
    "wilcoxon": _wilcoxon,
}
