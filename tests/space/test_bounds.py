"""The cheap corner of a space, and limits that nothing meets."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product

import pytest
from spaces import SPACES

from nas.arch.cost import cost
from nas.core.errors import UserError
from nas.space.bounds import by_cost, check_limits, cost_bounds, size_ladder, trellis_of
from nas.space.choices import choices, fill, random_picks
from nas.space.limits import Limits
from search_spaces import nas_bench_macro
from search_spaces.mbconv import mbconv


def smallest_network(space, metric="macs"):
    """The network that has what `cost_bounds` says is the least."""
    trellis = trellis_of(space)
    peak = metric == "peak_memory_bytes"
    return fill(space, trellis.extreme(getattr(trellis.row_costs, metric), peak=peak)[1])


@pytest.mark.parametrize("name", SPACES)
def test_nothing_is_smaller_than_the_smallest(name, rng):
    space = SPACES[name]
    fields = ("macs", "params", "peak_memory_bytes")
    least = {f: getattr(cost(smallest_network(space, f)), f) for f in fields}
    for _ in range(300):
        other = cost(fill(space, random_picks(space, rng)))
        assert all(least[f] <= getattr(other, f) for f in fields)


@pytest.mark.parametrize("name", SPACES)
def test_ranges_are_attained_and_hold(name, rng):
    space = SPACES[name]
    least, most = cost_bounds(space)
    for field, low in asdict(least).items():
        assert getattr(cost(smallest_network(space, field)), field) == low
    for _ in range(100):
        other = asdict(cost(fill(space, random_picks(space, rng))))
        assert all(asdict(least)[f] <= other[f] <= asdict(most)[f] for f in other)


def test_the_range_of_all_of_nas_bench_macro():
    every = [cost(nas_bench_macro.network("".join(code))) for code in product("012", repeat=8)]
    for field in asdict(every[0]):
        values = [getattr(c, field) for c in every]
        ends = [getattr(end, field) for end in cost_bounds(SPACES["nas_bench_macro"])]
        assert ends == [min(values), max(values)]


def test_the_order_of_labels_is_by_their_cost():
    space = SPACES["mobilenet_v3_small_32"]
    order = by_cost(space)
    dearest = {key: labels[-1] for key, labels in order.items()}
    for key, labels in order.items():
        macs = [cost(fill(space, dearest | {key: label})).macs for label in labels]
        assert macs == sorted(macs)


def test_parameters_have_a_minimum_of_their_own():
    space = mbconv()  # skipping stages saves multiply-adds, and here costs parameters
    by_macs, by_params = (cost(smallest_network(space, f)) for f in ("macs", "params"))
    assert by_params.params < by_macs.params
    assert by_params.macs > by_macs.macs


@pytest.mark.parametrize("name", SPACES)
def test_the_ladder_climbs(name):
    space = SPACES[name]
    macs = [cost(fill(space, picks)).macs for picks in size_ladder(space, 4)]
    assert macs == sorted(macs)
    assert cost(smallest_network(space)).macs <= macs[0] < macs[-1] / 2
    assert all(picks.keys() == choices(space).keys() for picks in size_ladder(space, 4))


def test_a_limit_out_of_reach_is_said_with_what_can_be_reached():
    space = SPACES["mbconv_28"]
    least, _ = cost_bounds(space)
    check_limits(Limits(macs=least.macs, params=least.params, latency_ms=1e-9), space)
    for name, have in (("macs", least.macs), ("params", least.params),
                       ("memory_kb", least.peak_memory_bytes / 1024)):  # fmt: skip
        message = rf"limit\.{name}=.* is out of reach: the least .* is {have:.12g}; raise it"
        with pytest.raises(UserError, match=message):
            check_limits(Limits(**{name: 0.99 * have}), space)
