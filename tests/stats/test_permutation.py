"""Permutation tests, bootstrap intervals of a difference, Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nas.stats.permutation import difference_interval, holm, permutation_p


def test_p_is_that_of_scipy():
    rng = np.random.default_rng(0)
    group, others = rng.normal(0.6, 1, 6), rng.normal(0, 1, 40)

    def above(a, b):
        return np.mean(a) - np.mean(b)

    for two_sided, alternative in ((False, "greater"), (True, "two-sided")):
        expected = stats.permutation_test(
            (group, others), above, n_resamples=20_000, alternative=alternative, rng=rng
        ).pvalue
        assert permutation_p(group, others, two_sided) == pytest.approx(expected, abs=0.012)


def test_p_is_even_where_nothing_differs_and_never_zero():
    rng = np.random.default_rng(1)
    ps = [permutation_p(rng.normal(size=5), rng.normal(size=60)) for _ in range(120)]
    assert stats.kstest(ps, "uniform").pvalue > 0.01
    assert 0 < permutation_p([9.0] * 5, np.zeros(200)) < 0.001


def test_equal_numbers_are_told_from_nothing():
    assert permutation_p([0.1, 0.1], [0.1] * 7) == 1.0
    assert permutation_p([0.3] * 3, [0.3] * 7, two_sided=True) == 1.0


def test_p_does_not_depend_on_the_unit():
    group, others = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    p = permutation_p(group, others)
    assert p == pytest.approx(1 / 20, abs=0.01)  # of the ways to choose three of six
    assert permutation_p(1e-12 * group, others) == permutation_p(1e12 * group, others) == p


def test_nan_drops_out():
    nan = float("nan")
    assert permutation_p([2.0, nan, 3.0], [0.0, 1.0, nan, 0.5]) == permutation_p(
        [2.0, 3.0], [0.0, 1.0, 0.5]
    )
    assert np.isnan(permutation_p([nan], [1.0]))
    assert np.isnan(difference_interval([nan], [1.0]).value)


@pytest.mark.parametrize("number", [3, 5, 10])
def test_the_interval_holds_the_true_difference_as_often_as_it_says(number):
    rng = np.random.default_rng(2)
    found = [
        difference_interval(rng.normal(1, 1, number), rng.normal(0, 1, 60)) for _ in range(600)
    ]
    assert 0.925 < np.mean([f.low < 1 < f.high for f in found]) < 0.975


def test_holm_is_that_of_the_paper():
    # Holm 1979: the smallest p times the number of hypotheses, the next times one less, ...
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([0.02, float("nan"), 0.03])[1] != holm([0.02, float("nan"), 0.03])[1]
    assert holm([0.02, float("nan"), 0.03])[0] == pytest.approx(0.04)
