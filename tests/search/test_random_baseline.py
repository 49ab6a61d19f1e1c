"""A search against as many random networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.verdicts import describe_gain
from nas.search.random_baseline import gain_over_random, hypervolume_growth
from nas.stats.pareto import hypervolume

POINTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 1)), min_size=1, max_size=8)


def frame(points):
    return pd.DataFrame(points, columns=["score", "latency_ms"], dtype=float)


def test_shares_are_of_what_both_dominate():
    found = gain_over_random(frame([(0.5, 1.0), (0.9, 0.5)]), frame([(0.5, 0.5), (0.1, 2.0)]))
    # bounded by (0.1, 2.0) both dominate (0.9 - 0.1) * (2 - 0.5) = 1.2
    assert found["search"] == pytest.approx([0.4 * 1.0 / 1.2, 1.0])
    assert found["random"] == pytest.approx([0.4 * 1.5 / 1.2] * 2)
    assert found["front"] == 1
    assert found["equal_after"] == 2
    assert "front of 1 · 1.000 of the hypervolume, 0.500 by as many random" in describe_gain(found)


def test_a_search_that_is_worse_says_so():
    found = gain_over_random(frame([(0.2, 1.0)]), frame([(0.9, 0.5), (0.1, 2.0)]))
    assert found["equal_after"] is None
    assert "did not reach" in describe_gain(found)


def test_nothing_to_compare():
    assert gain_over_random(frame([(0.2, 1.0)]), frame([])) is None
    assert gain_over_random(frame([(np.nan, 1.0)]), frame([(0.2, 1.0)])) is None
    assert gain_over_random(frame([(0.2, 1.0)]), frame([(0.2, 1.0)])) is None  # no area


@given(POINTS, POINTS)
def test_shares_grow_and_never_exceed_the_whole(mine, theirs):
    found = gain_over_random(frame(mine), frame(theirs))
    both = np.array(mine + theirs)
    whole = hypervolume(both, (both[:, 0].min(), both[:, 1].max()), (True, False))
    assert (found is None) == (not whole)
    if found:
        for shares in (found["search"], found["random"]):
            assert (np.diff(shares) >= -1e-9).all()
            assert shares[-1] <= 1 + 1e-9


@given(POINTS)
def test_growth_is_the_hypervolume_of_every_prefix(points):
    values = np.array(points)
    reference = (values[:, 0].min(), values[:, 1].max())
    want = [hypervolume(values[: i + 1], reference, (True, False)) for i in range(len(values))]
    assert hypervolume_growth(values, reference) == pytest.approx(want, abs=1e-12)
