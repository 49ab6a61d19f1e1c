"""The cheap corner of a space, and limits that nothing meets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from spaces import SPACES

from nas.cost import cost
from nas.errors import UserError
from nas.evaluate import Evaluator, Limits
from nas.reach import check_limits, ladder, smallest_network
from nas.space import choices, fill, random_picks
from search_spaces.mbconv import mbconv


@pytest.mark.parametrize("name", SPACES)
def test_nothing_is_smaller_than_the_smallest(name, rng):
    space = SPACES[name]
    fields = ("macs", "params", "peak_memory_bytes")
    least = {f: getattr(cost(smallest_network(space, f)), f) for f in fields}
    for _ in range(300):
        other = cost(fill(space, random_picks(space, rng)))
        assert all(least[f] <= getattr(other, f) for f in fields)


def test_parameters_have_a_minimum_of_their_own():
    space = mbconv()  # skipping stages saves multiply-adds, and here costs parameters
    by_macs, by_params = (cost(smallest_network(space, f)) for f in ("macs", "params"))
    assert by_params.params < by_macs.params
    assert by_params.macs > by_macs.macs


@pytest.mark.parametrize("name", SPACES)
def test_the_ladder_climbs(name):
    space = SPACES[name]
    macs = [cost(fill(space, picks)).macs for picks in ladder(space, 4)]
    assert macs == sorted(macs)
    assert cost(smallest_network(space)).macs <= macs[0] < macs[-1] / 2
    assert all(picks.keys() == choices(space).keys() for picks in ladder(space, 4))


class Timer:
    name = "fake"

    def __init__(self, ms: float) -> None:
        self.ms = ms

    def measure_many(self, archs):
        if self.ms < 0:
            raise RuntimeError("no device")
        return [SimpleNamespace(median_ms=self.ms, iqr_ms=0.0, noisy=False)] * len(archs)


def evaluator(ms: float, **limits: float) -> Evaluator:
    return Evaluator(Timer(ms), lambda archs: iter(()), Limits(**limits))


def test_a_limit_out_of_reach_is_said_with_what_can_be_reached():
    space = SPACES["mbconv_28"]
    check_limits(evaluator(1.0, latency_ms=1.5), space)
    with pytest.raises(UserError, match=r"limit\.latency_ms=0\.5 is out of reach: .* takes 1;"):
        check_limits(evaluator(1.0, latency_ms=0.5), space)
    with pytest.raises(UserError, match=r"limit\.params=10 is out of reach"):
        check_limits(evaluator(1.0, params=10), space)
    with pytest.raises(UserError, match="not measured: RuntimeError: no device"):
        check_limits(evaluator(-1.0), space)
