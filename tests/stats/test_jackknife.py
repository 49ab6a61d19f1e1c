"""The jackknife: of a mean it is the usual standard error, and pairs tell more than two alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.stats.jackknife import GROUPS, jackknife_error, left_out


def parts_of(values):
    return left_out(lambda rows: float(np.mean(values[list(rows)])), len(values))


def test_of_a_mean_of_as_many_things_as_groups_it_is_exact():
    values = np.random.default_rng(0).normal(size=GROUPS)
    expected = values.std(ddof=1) / math.sqrt(GROUPS)
    assert jackknife_error(parts_of(values)) == pytest.approx(expected, rel=1e-9)


def test_of_many_things_it_is_right_in_the_mean_with_as_many_evaluations():
    rng, asked = np.random.default_rng(1), []
    errors = [jackknife_error(parts_of(rng.normal(size=200))) for _ in range(300)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(1 / math.sqrt(200), rel=0.05)
    left_out(lambda rows: float(asked.append(rows) or 0), 1000)
    assert [len(rows) for rows in asked] == [900] * GROUPS


def test_what_two_networks_share_is_no_error_of_their_difference():
    rng = np.random.default_rng(2)
    hard, gain = rng.normal(size=100), 0.1 * rng.normal(size=100)
    together = jackknife_error(parts_of(hard + gain) - parts_of(hard))
    assert together == pytest.approx(jackknife_error(parts_of(gain)), rel=1e-9)
    assert together < jackknife_error(parts_of(hard)) / 3


def test_one_thing_has_no_known_error():
    assert math.isnan(jackknife_error(parts_of(np.array([1.0]))))
    assert jackknife_error(parts_of(np.array([1.0, 3.0]))) == pytest.approx(1.0)


def test_parts_without_a_figure_do_not_count():
    parts = np.array([0.5, 0.6, 0.7])
    assert jackknife_error(np.append(parts, np.nan)) == jackknife_error(parts)
    assert math.isnan(jackknife_error(np.array([0.5, np.nan])))
