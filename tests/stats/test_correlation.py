"""Errors, rank correlations and their intervals, against SciPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas.stats.correlation import fraction_within, interval, kendall, mape, spearman, top_regret

pairs = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=30
).map(lambda rows: np.array(rows, float).T)  # fmt: skip


@given(pairs)
def test_rank_correlations_are_scipys(rows):
    ours = spearman(*rows), kendall(*rows)
    if any(len(set(side)) == 1 for side in rows):
        assert np.isnan(ours).all()
        return
    theirs = stats.spearmanr(*rows).statistic, stats.kendalltau(*rows).statistic
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_relative_errors():
    predicted, true = np.array([1.0, 2.2, 2.7]), np.array([1.0, 2.0, 3.0])
    assert mape(predicted, true) == pytest.approx((0 + 0.1 + 0.1) / 3)
    assert fraction_within(0.05)(predicted, true) == pytest.approx(1 / 3)
    assert fraction_within(0.11)(predicted, true) == 1


def test_regret_is_what_the_best_of_the_trusted_lack():
    predicted, true = np.array([0.9, 0.8, 0.1]), np.array([0.5, 0.7, 0.75])
    regrets = [top_regret(k)(predicted, true) for k in (1, 2, 3)]
    assert regrets == pytest.approx([0.25, 0.05, 0.0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(40):
        true = rng.uniform(1, 2, 60)
        predicted = true * (1 + rng.choice([-0.02, 0.02], 60) * rng.uniform(0, 2, 60))
        found = interval(mape, predicted, true, seed)
        assert found.low <= found.value <= found.high
        covered += found.low <= 0.02 <= found.high
    assert covered >= 34  # 95 % of 40 is 38; under 34 has a chance of 1 in 500


def test_the_same_seed_gives_the_same_interval():
    true = np.arange(1.0, 9.0)
    assert interval(kendall, true[::-1], true) == interval(kendall, true[::-1], true)
