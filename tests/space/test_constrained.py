"""The part of a space that limits leave."""

from __future__ import annotations

import numpy as np
import pytest

from nas.arch.cost import cost
from nas.space.choices import fill
from nas.space.constrained import ConstrainedSpace
from nas.space.trellis.trellis import Trellis
from search_spaces.mbconv import mbconv
from search_spaces.nas_bench_macro import nas_bench_macro

TRELLIS = Trellis(mbconv(width=0.25, resolution=28, channels=1, classes=10))
ROW_MS = np.array([0.001 + row.side / 1e4 for row in TRELLIS.rows])


def whole_ms(sums):
    return sums + 0.01


@pytest.mark.parametrize("limits", [{}, {"macs": 3e6}, {"params": 9e4, "memory_kb": 12.0}])
def test_random_networks_are_distinct_and_within_the_limits(limits):
    space = ConstrainedSpace(TRELLIS, ROW_MS, whole_ms, max_ms=0.08, limits=limits)
    genomes = space.random(200, np.random.default_rng(0))
    assert len(genomes) == 200
    assert len(np.unique(TRELLIS.networks(genomes), axis=0)) == 200
    assert (TRELLIS.totals(ROW_MS, genomes) + 0.01 <= 0.08).all()
    for picks in TRELLIS.decode(genomes[:20]):
        counts = cost(fill(TRELLIS.space, picks))
        has = {
            "macs": counts.macs,
            "params": counts.params,
            "memory_kb": counts.peak_memory_bytes / 1024,
        }
        assert all(has[name] <= most for name, most in limits.items())


def test_networks_below_the_least_latency_are_left_out():
    space = ConstrainedSpace(TRELLIS, ROW_MS, whole_ms, max_ms=0.036, min_ms=0.0353)
    genomes = space.random(50, np.random.default_rng(0))
    sums = TRELLIS.totals(ROW_MS, genomes) + 0.01
    assert len(genomes) == 50
    assert ((sums >= 0.0353) & (sums <= 0.036)).all()
    faster = TRELLIS.random(100, np.random.default_rng(0))
    faster = faster[whole_ms(TRELLIS.totals(ROW_MS, faster)) < 0.0353]
    assert np.isinf(space.ms(faster)).all()
    assert not space.allows(faster).any()


def test_random_networks_are_uniform_over_what_the_limits_leave():
    space = ConstrainedSpace(TRELLIS, ROW_MS, max_ms=0.08)
    drawn = space.random(4000, np.random.default_rng(1))
    every = TRELLIS.random(40_000, np.random.default_rng(2))
    allowed = every[space.ms(every) <= 0.08]
    for column, (key, labels) in enumerate(TRELLIS.labels.items()):
        for i in range(len(labels)):
            expected = (allowed[:, column] == i).mean()
            assert (drawn[:, column] == i).mean() == pytest.approx(expected, abs=0.05), key


def test_a_small_space_is_given_whole_and_an_empty_one_as_nothing():
    trellis = Trellis(nas_bench_macro(resolution=8))
    free = ConstrainedSpace(trellis, np.ones(len(trellis.rows)))
    assert len(free.random(5000, np.random.default_rng(0))) == 3969  # Su et al. 2021, distinct
    none = ConstrainedSpace(trellis, np.ones(len(trellis.rows)), max_ms=0.5)
    assert len(none.random(10, np.random.default_rng(0))) == 0


def test_a_limit_on_a_cost_makes_latency_infinite():
    space = ConstrainedSpace(TRELLIS, ROW_MS, limits={"macs": 3e6})
    genomes = TRELLIS.random(500, np.random.default_rng(3))
    over = TRELLIS.costs(genomes).macs > 3e6
    assert over.any()
    assert (np.isinf(space.ms(genomes)) == over).all()
    assert (space.allows(genomes) == ~over).all()
    assert space.allows(space.random(50, np.random.default_rng(4))).all()


def test_spread_networks_are_even_over_the_logarithm_of_latency():
    space = ConstrainedSpace(TRELLIS, ROW_MS, whole_ms, max_ms=0.08)
    genomes = space.sample_even_in_latency(30, np.random.default_rng(5))
    logs = np.log(space.ms(genomes))
    assert len(np.unique(TRELLIS.networks(genomes), axis=0)) == 30
    assert (np.diff(logs) >= 0).all()
    ranks = np.linspace(logs[0], logs[-1], 30)
    assert np.abs(logs - ranks).max() < 0.05 * np.ptp(logs)
    few = ConstrainedSpace(Trellis(nas_bench_macro(resolution=8)), np.ones(19))
    assert len(few.sample_even_in_latency(5000, np.random.default_rng(0))) == 3969
    assert (
        len(np.unique(few.sample_even_in_latency(3900, np.random.default_rng(0)), axis=0)) == 3900
    )  # all equal
