"""Intervals of paired differences over trainings and images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nas.stats.correlation import Interval
from nas.stats.paired import paired_interval


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [(0.02, 0.3, 0.3), (0.05, 0.0, 0.1), (0.0, 0.3, 0.1)])
def test_it_holds_for_other_trainings_and_other_images(num_seeds, spread):
    draws, hits = np.random.default_rng(0), 0
    of_seed, of_image, of_both = spread
    for _ in range(400):
        differences = (
            0.01
            + of_seed * draws.normal(size=(num_seeds, 1))
            + of_image * draws.normal(size=(1, 200))
            + of_both * draws.normal(size=(num_seeds, 200))
        )
        found = paired_interval(differences)
        hits += found.low <= 0.01 <= found.high
    assert hits / 400 > 0.92


def test_of_trainings_that_differ_as_wholes_it_is_students():
    by_seed = np.array([0.01, 0.04, -0.02])
    found = paired_interval(np.repeat(by_seed[:, None], 500, axis=1))
    low, high = stats.t.interval(0.95, 2, by_seed.mean(), stats.sem(by_seed))
    assert (found.value, found.low, found.high) == pytest.approx((by_seed.mean(), low, high))


def test_trainings_that_agree_by_chance_do_not_hide_the_images():
    differences = np.zeros((2, 300))
    differences[0, :3] = differences[1, 7:10] = 1  # one per cent of each, of other images
    found = paired_interval(differences)
    assert found.low < 0 < found.value == 0.01 < found.high


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=4, max_size=4), min_size=2))
def test_it_turns_with_the_sign_and_holds_its_mean(rows):
    differences = np.array(rows)
    found, turned = paired_interval(differences), paired_interval(-differences)
    assert found.low <= found.value <= found.high
    assert math.isfinite(found.high)
    ends = (-turned.value, -turned.high, -turned.low)
    assert (found.value, found.low, found.high) == pytest.approx(ends)


@pytest.mark.parametrize("shape", [(1, 10), (3, 1), (0, 10)])
def test_one_training_or_one_image_has_no_interval(shape):
    with pytest.raises(ValueError, match="needs 2 trainings and 2 images"):
        paired_interval(np.zeros(shape))


def test_equal_answers_differ_by_nothing():
    assert paired_interval(np.zeros((3, 10))) == Interval(0.0, 0.0, 0.0)
