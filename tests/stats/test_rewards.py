import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from nas.core.errors import UserError
from nas.stats import rewards as ob
from nas.stats.pareto import hypervolume


def test_mnas_says_that_doubling_the_latency_is_worth_five_per_cent():
    once, twice = ob.mnas([0.75, 0.75 * 1.05], [80.0, 160.0], 80.0)
    assert once == 0.75
    assert twice == pytest.approx(once, rel=1e-3)


def test_mnas_hard_is_the_value_up_to_the_target_and_falls_beyond_it():
    assert_allclose(ob.mnas_hard([0.7, 0.7, 0.7], [40, 80, 160], 80.0), [0.7, 0.7, 0.35])


def test_tunas_falls_on_both_sides_of_the_target():
    assert_allclose(ob.tunas([0.75, 0.75, 0.75], [42, 84, 126], 84.0), [0.70, 0.75, 0.70])


def test_limit_admits_the_target_itself():
    assert_allclose(ob.limit([0.6, 0.7, 0.8], [50, 80, 81], 80.0), [0.6, 0.7, -np.inf])


@pytest.mark.parametrize("name", [n for n, f in ob.OBJECTIVES.items() if f])
def test_every_objective_is_a_line_in_the_value(name):
    costs = np.array([10.0, 79.0, 80.0])
    score = ob.OBJECTIVES[name]
    slope, intercept = ob.line(lambda v, c: score(v, c, 80.0), costs)
    assert_allclose(slope * 0.37 + intercept, score(np.full(3, 0.37), costs, 80.0))


def test_a_line_that_is_forbidden_has_no_slope():
    slope, intercept = ob.line(lambda v, c: ob.limit(v, c, 80.0), np.array([90.0]))
    assert slope[0] == 0
    assert intercept[0] == -np.inf


@pytest.mark.parametrize(("costs", "target"), [([1.0, 0.0], 5.0), ([1.0], 0.0), ([1.0], -2.0)])
def test_costs_and_targets_must_be_positive(costs, target):
    with pytest.raises(UserError, match="positive"):
        ob.mnas(np.ones(len(costs)), costs, target)


def test_the_exponent_is_read_from_the_front_alone():
    costs = np.array([10.0, 20.0, 40.0, 80.0])
    values = 0.5 * costs**0.085
    exponent, _ = ob.power_law(values, costs, 1.0)
    assert exponent == pytest.approx(-0.085)
    rewards = ob.mnas(values, costs, 33.0, exponent)
    assert np.ptp(rewards) < 1e-12
    dominated, _ = ob.power_law([*values, 0.1, 0.2], [*costs, 50.0, 90.0], 1.0)
    assert dominated == pytest.approx(-0.085)


def test_calibrated_objectives_trade_as_the_front_does():
    costs = np.array([10.0, 20.0, 40.0, 80.0])
    values = 0.5 * costs**0.085
    rewards = ob.Calibrated("mnas", 33.0).at(values, costs)(values, costs)
    assert np.ptp(rewards) < 1e-12
    # beyond the target TuNAS falls with the cost as fast as the front rises there
    tunas = ob.Calibrated("tunas", 40.0).at(values, costs)
    near = np.array([40.0, 40.4])
    assert np.ptp(tunas(0.5 * near**0.085, near)) < 1e-5
    assert tunas(0.5, 40.0) == 0.5


def test_calibrated_objectives_begin_with_the_published_trade():
    one = ob.Calibrated("mnas", 80.0).at([0.7], [10.0])
    assert one(0.75, 160.0) == ob.mnas(0.75, 160.0, 80.0)
    with pytest.raises(UserError, match="'limit'"):
        ob.Calibrated("limit", 80.0)


def test_one_point_has_no_exponent():
    with pytest.raises(UserError, match="run more trials"):
        ob.power_law([0.5, 0.4], [10.0, 20.0], 1.0)


@given(
    mean=st.floats(-3, 3), sd=st.floats(0.05, 1.5), gap=st.floats(0.1, 20),
)  # fmt: skip
def test_expected_excess_is_what_quadrature_gives(mean, sd, gap):
    nodes = np.linspace(-8, 8, 20001)
    density = np.exp(-0.5 * nodes**2) / np.sqrt(2 * np.pi)
    excess = np.maximum(gap - np.exp(-(mean + sd * nodes)), 0)
    expected = np.trapezoid(excess * density, nodes)
    found = ob.expected_excess(np.array([mean]), np.array([sd]), 90.0 - gap, 90.0)
    assert found[0] == pytest.approx(expected, abs=1e-5 * max(1.0, gap))


def test_nothing_is_expected_above_the_top():
    assert ob.expected_excess(np.zeros(1), np.ones(1), 90.0, 90.0)[0] == 0


points = st.lists(st.tuples(st.floats(60, 94), st.floats(1, 99)), min_size=1, max_size=8)


@given(points, st.floats(60, 94), st.floats(1, 120))
def test_a_certain_value_adds_exactly_its_hypervolume(front, value, cost):
    reference, top = (70.0, 100.0), 95.0
    front = np.array(front)
    before = hypervolume(front, reference, (True, False))
    after = hypervolume([*front, (value, cost)], reference, (True, False))
    mean = np.array([-np.log(top - value)])
    gain = ob.expected_hypervolume(mean, np.array([1e-6]), np.array([cost]), front, reference, top)
    assert gain[0] == pytest.approx(after - before, abs=1e-2)


def test_uncertainty_only_adds_to_what_is_expected_of_a_dominated_network():
    front, reference = np.array([[90.0, 10.0]]), (70.0, 100.0)
    mean, costs = np.full(2, -np.log(95 - 88.0)), np.full(2, 20.0)
    certain, open_ = ob.expected_hypervolume(
        mean, np.array([0.01, 0.5]), costs, front, reference, 95.0
    )
    assert certain == 0
    assert open_ > 0
