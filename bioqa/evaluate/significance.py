"""Whether two runs differ by more than chance: paired tests over the same queries (scipy), and corrections for many tests."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioqa.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 9999
SEED = 42

Values = Mapping[str, Mapping[str, float]]
"""Measure → query id → value, as ``ranking.evaluate`` gives them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a run differs from the baseline in one measure, over the same queries.

    ``difference`` is of the means, positive where the run is better; ``p`` the paired test's p-value, and ``corrected`` that
    adjusted for all tests made together. ``better``, ``equal`` and ``worse`` count queries.
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
    baseline: Values, others: Mapping[str, Values], test: str = "student", correction: str | None = "holm"
) -> list[Difference]:
    """Each measure of each of ``others`` (by name) beside the baseline's; all the tests are one family for the correction.

    Raises:
        UsageError: as for ``compare`` and ``correct``.
    """
    pairs = [(run, measure) for run in others for measure in baseline]
    p_values = [compare(baseline[measure], others[run][measure], test) for run, measure in pairs]
    adjusted = correct(p_values, correction) if correction else p_values
    differences = []
    for (run, measure), p, corrected in zip(pairs, p_values, adjusted, strict=True):
        apart = [others[run][measure][query] - value for query, value in baseline[measure].items()]
        better, worse = sum(one > 0 for one in apart), sum(one < 0 for one in apart)
        equal = len(apart) - better - worse
        differences.append(Difference(run, measure, sum(apart) / len(apart), p, corrected, better, equal, worse))
    return differences


def compare(baseline: Mapping[str, float], other: Mapping[str, float], test: str = "student") -> float:
    """The two-sided p-value of the paired differences between two systems' values of one measure, query by query.

    ``test`` is "student" (the paired t-test), "wilcoxon" (the signed-rank test), or "fisher" (Fisher's randomization test:
    ``RESAMPLES`` random assignments of each query's two values to the two systems, seeded, all of them where they are no more;
    Smucker, Allan and Carterette, CIKM 2007). Where no query differs, it is 1.

    Raises:
        UsageError: an unknown test, mappings of different queries, fewer than two queries, or a value that is not finite.
    """
    import numpy as np

    if test not in _TESTS:
        raise UsageError(f"There is no test {test!r}. There are {', '.join(_TESTS)}.")
    if baseline.keys() != other.keys():
        unshared = ", ".join(sorted(baseline.keys() ^ other.keys())[:3])
        raise UsageError(f"A paired test needs the values of the same queries; not in both are {unshared}.")
    if len(baseline) < 2:
        raise UsageError(f"A paired test needs two queries or more, not {len(baseline)}.")
    differences = np.array([other[query] - value for query, value in baseline.items()])
    if not np.isfinite(differences).all():
        raise UsageError("A paired test needs finite values; a value is NaN or infinite.")
    return 1.0 if not differences.any() else float(_TESTS[test](differences))


def correct(p_values: Sequence[float], method: str) -> list[float]:
    """The p-values of one family of tests, adjusted so that each can be held against the level of significance as it stands.

    ``method`` is "bonferroni" (times the number of tests) or "holm" (its step-down form, which is never weaker; Holm 1979).

    Raises:
        UsageError: an unknown method, or a value that is not in 0 to 1.
    """
    if method not in ("bonferroni", "holm"):
        raise UsageError(f"There is no correction {method!r}. There are holm, bonferroni.")
    if not all(0 <= p <= 1 for p in p_values):  # false for NaN too
        raise UsageError("A p-value lies between 0 and 1.")
    if method == "bonferroni":
        return [min(1.0, p * len(p_values)) for p in p_values]
    adjusted = list(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def _student(differences: "NDArray[np.float64]") -> float:
    from scipy.stats import ttest_1samp

    with warnings.catch_warnings():
        # Queries that all differ by the same amount: scipy warns of lost precision, and its p-value, about 0, is right.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(ttest_1samp(differences, 0.0).pvalue)


def _fisher(differences: "NDArray[np.float64]") -> float:
    import numpy as np
    from scipy.stats import permutation_test

    # Of one sample, scipy flips the signs: the two systems of a query are swapped.
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
