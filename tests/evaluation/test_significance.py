"""Intervals and tests: against scipy, and against what must come out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmsearch.evaluation.significance import compare, estimate, holm, randomisation_test


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    """Percentile intervals of two independent implementations are close."""
    values = np.random.default_rng(1).beta(2, 3, 150)
    ours = estimate(values)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.005)
    assert estimate(values) == ours


def test_the_test_is_that_of_scipys_permutations() -> None:
    """Few differences: every sign, exactly; many: a sample of them."""
    rng = np.random.default_rng(3)
    for n, tolerance in ((9, 1e-9), (80, 0.01)):
        first = rng.random(n)
        second = first + rng.normal(0.05, 0.2, n)
        theirs = stats.permutation_test(
            (second, first),
            lambda a, b: np.mean(a - b),
            permutation_type="samples",
            n_resamples=20_000,
            rng=np.random.default_rng(4),
        ).pvalue
        assert randomisation_test(first, second) == pytest.approx(theirs, abs=tolerance)


def test_equal_runs_differ_by_nothing() -> None:
    """p is 1, not 0 / 0."""
    assert randomisation_test([0.1, 0.2], [0.1, 0.2]) == 1.0


def test_under_the_null_hypothesis_five_percent_are_called_significant() -> None:
    """The rate of false alarms is what it says."""
    rng = np.random.default_rng(5)
    alarms = [randomisation_test(rng.random(12), rng.random(12)) < 0.05 for _ in range(300)]
    assert 0.01 < np.mean(alarms) < 0.1


def test_holms_correction_keeps_order_and_bounds() -> None:
    """The example of every textbook, and p-values never fall below a smaller one's."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_a_comparison_tells_difference_and_share() -> None:
    """Second minus first, relative to the first."""
    one = compare({"R@1": [0.0, 1.0, 0.0, 1.0]}, {"R@1": [1.0, 1.0, 0.0, 1.0], "P@1": [0.0] * 4})
    assert [c.measure for c in one] == ["R@1"]
    assert one[0].difference.mean == 0.25
    assert one[0].relative == 0.5
    assert one[0].p_value == 1.0
    assert not one[0].significant
