"""Paired tests against values worked out by hand."""

import math

import numpy as np
import pytest

from bioqa.errors import UsageError
from bioqa.evaluate.significance import compare_runs, correct_p_values, paired_test


def values(*numbers: float) -> dict[str, float]:
    return {f"q{number}": value for number, value in enumerate(numbers)}


def test_students_p_value_is_that_of_its_formula():
    # Differences 1, 2, 3: t = 2 / (1 / sqrt 3) with 2 degrees of freedom, whose distribution function has a closed form.
    t = 2 * math.sqrt(3)
    expected = 1 - t / math.sqrt(2 + t * t)
    assert paired_test(values(0, 0, 0), values(1, 2, 3)) == pytest.approx(expected)


@pytest.mark.parametrize(("test", "expected"), [("fisher", 2 / 2**5), ("wilcoxon", 2 / 2**5)])
def test_few_queries_are_tested_exactly(test, expected):
    assert paired_test(values(0, 0, 0, 0, 0), values(1, 2, 3, 4, 5), test) == pytest.approx(expected)


@pytest.mark.parametrize("test", ["student", "fisher", "wilcoxon"])
def test_a_real_difference_is_significant_and_noise_is_not(test):
    rng = np.random.default_rng(5)
    base = rng.random(200)
    noise, better = base + rng.normal(0, 0.1, 200), base + rng.normal(0.05, 0.1, 200)
    assert paired_test(values(*base), values(*noise), test) > 0.1
    assert paired_test(values(*base), values(*better), test) < 0.001
    assert paired_test(values(*base), values(*base), test) == 1.0
    assert paired_test(values(*base), values(*better), test) == paired_test(values(*base), values(*better), test)


@pytest.mark.parametrize("test", ["student", "fisher", "wilcoxon"])
def test_the_order_of_queries_and_runs_does_not_matter(test):
    one, two = values(0.1, 0.5, 0.2, 0.9, 0.4, 0.4), values(0.3, 0.4, 0.6, 0.95, 0.4, 0.7)
    turned = dict(reversed(two.items()))
    assert paired_test(one, two, test) == pytest.approx(paired_test(turned, one, test))


def test_a_difference_that_is_the_same_everywhere_is_significant():
    assert paired_test(values(0, 0, 0, 0), values(1, 1, 1, 1)) < 1e-6


@pytest.mark.parametrize(
    ("one", "two", "test", "problem"),
    [
        (values(1, 2), values(1, 2), "anova", "Unknown test 'anova'. Tests: student, fisher, wilcoxon"),
        (values(1, 2), values(1, 2, 3), "student", "same queries; not in both: q2"),
        (values(1), values(2), "student", "at least two queries, not 1"),
        (values(1, math.nan), values(2, 3), "fisher", "finite"),
    ],
)
def test_what_cannot_be_tested_is_refused(one, two, test, problem):
    with pytest.raises(UsageError, match=problem):
        paired_test(one, two, test)


def test_corrections():
    assert correct_p_values([0.01, 0.04, 0.03], "bonferroni") == pytest.approx([0.03, 0.12, 0.09])
    assert correct_p_values([0.01, 0.04, 0.03], "holm") == pytest.approx([0.03, 0.06, 0.06])
    assert correct_p_values([0.5, 0.9], "bonferroni") == [1.0, 1.0]
    assert correct_p_values([], "holm") == []
    with pytest.raises(UsageError, match="Unknown correction 'fdr'"):
        correct_p_values([0.1], "fdr")
    with pytest.raises(UsageError, match="must be between 0 and 1"):
        correct_p_values([math.nan], "holm")


def test_runs_are_compared_measure_by_measure_with_one_correction():
    base = {"AP": values(0.1, 0.2, 0.3, 0.4), "RR": values(1, 1, 0.5, 0.5)}
    others = {"new": {"AP": values(0.3, 0.1, 0.5, 0.4), "RR": values(1, 1, 1, 1)}, "old": base}
    found = compare_runs(base, others, "student", "bonferroni")
    assert [(one.run, one.measure) for one in found] == [("new", "AP"), ("new", "RR"), ("old", "AP"), ("old", "RR")]
    assert (found[0].better, found[0].equal, found[0].worse) == (2, 1, 1)
    assert found[1].difference == pytest.approx(0.25)
    assert found[0].corrected == pytest.approx(min(1, 4 * found[0].p))
    assert all(one.corrected == one.p for one in compare_runs(base, others, "student", None))
