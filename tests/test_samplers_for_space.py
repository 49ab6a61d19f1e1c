"""The sampler of a space whose latencies are known row by row."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from nas.blocks import network_id
from nas.cost import cost
from nas.errors import UserError
from nas.samplers.for_space import AIMS, InTurns, known_cost
from nas.space import fill
from nas.trellis import Trellis
from search_spaces.mbconv import mbconv
from search_spaces.nas_bench_macro import nas_bench_macro

SPACE = mbconv(width=0.25, resolution=28, channels=1, classes=10)


@pytest.fixture(scope="module")
def trellis():
    return Trellis(SPACE)


def values_of(trellis):
    return trellis.row_costs.macs * 1e-8


def proposals(trellis, number, **more):
    sampler = known_cost(trellis, values_of(trellis), 0.001, **more)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for _ in range(number):
        trial = study.ask({k: CategoricalDistribution(v) for k, v in trellis.labels.items()})
        macs = cost(fill(trellis.space, trial.params)).macs
        study.tell(trial, [np.log(macs) + 0.1 * (trial.number % 3), macs * 1e-8 + 0.001])
    return [trial.params for trial in study.trials]


def test_limits_hold_for_every_proposal_and_none_comes_twice(trellis):
    picks = proposals(trellis, 25, most_ms=0.02, limits={"params": 60_000, "macs": None})
    archs = [fill(SPACE, p) for p in picks]
    costs = [cost(arch) for arch in archs]
    assert all(c.macs * 1e-8 + 0.001 <= 0.02 and c.params <= 60_000 for c in costs)
    assert len({network_id(arch) for arch in archs}) == 25


def test_one_seed_gives_the_same_proposals(trellis):
    assert proposals(trellis, 14, seed=3) == proposals(trellis, 14, seed=3)
    assert proposals(trellis, 3, seed=3) != proposals(trellis, 3, seed=4)


@pytest.mark.parametrize("objective", AIMS)
def test_every_objective_proposes(trellis, objective):
    assert len(proposals(trellis, 12, objective=objective, target_ms=0.03)) == 12


def test_an_unknown_objective_is_named(trellis):
    with pytest.raises(UserError, match=r"objective.*'speed'"):
        known_cost(trellis, values_of(trellis), 0.0, objective="speed")


def test_a_limit_that_nothing_meets_is_named():
    trellis = Trellis(nas_bench_macro())
    with pytest.raises(UserError, match="no network is within limit=1e-06"):
        proposals(trellis, 1, most_ms=1e-6)


def test_networks_that_are_equal_have_one_key():
    trellis = Trellis(nas_bench_macro())
    genomes = trellis.random(400, np.random.default_rng(0))
    keys = [ids.tobytes() for ids in trellis.networks(genomes)]
    ids = [network_id(fill(trellis.space, picks)) for picks in trellis.decode(genomes)]
    assert len(set(zip(keys, ids, strict=True))) == len(set(keys)) == len(set(ids))


def test_both_takes_the_front_and_the_target_in_turns(trellis):
    sampler = known_cost(trellis, values_of(trellis), 0.0, target_ms=0.02)
    assert isinstance(sampler, InTurns)
    front, target = sampler.samplers
    assert front.objective is None
    assert target.objective([0.5, 0.9], [0.01, 0.03]).tolist() == [0.5, -np.inf]
    picks = proposals(trellis, 30, target_ms=0.02, most_ms=0.03, seed=1)
    assert len({network_id(fill(SPACE, p)) for p in picks}) == 30
