"""The sampler of a space whose latencies are known row by row."""

from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution

from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.search.samplers.for_space import AIMS, KnownCost
from nas.search.samplers.warm_start import earlier_run
from nas.space.choices import fill
from nas.space.constrained import ConstrainedSpace
from nas.space.trellis.trellis import Trellis
from search_spaces.mbconv import mbconv
from search_spaces.nas_bench_macro import nas_bench_macro

SPACE = mbconv(width=0.25, resolution=28, channels=1, classes=10)


@pytest.fixture(scope="module")
def trellis():
    return Trellis(SPACE)


def space_of(trellis, overhead=0.001, most_ms=np.inf, limits=None):
    row_ms = trellis.row_costs.macs * 1e-8
    return ConstrainedSpace(trellis, row_ms, lambda sums: sums + overhead, most_ms, limits or {})


def proposals(trellis, number, most_ms=np.inf, limits=None, aim="both", exponent=None, **more):
    space = space_of(trellis, 0.001, most_ms, limits)
    sampler = KnownCost(aim, exponent).for_space(space, **more)
    return [trial.params for trial in told(sampler, trellis, number).trials]


def told(sampler, trellis, number, score=lambda ms, i: np.log(ms) + 0.1 * (i % 3)):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for i in range(number):
        trial = study.ask({k: CategoricalDistribution(v) for k, v in trellis.labels.items()})
        ms = cost(fill(trellis.space, trial.params)).macs * 1e-8 + 0.001
        study.tell(trial, [score(ms, i), ms])
    return study


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
    assert len(proposals(trellis, 12, aim=objective, target_ms=0.03)) == 12


@pytest.mark.parametrize("objective", ["mnas", "mnas_hard", "tunas"])
def test_published_rewards_do_not_prefer_slow_networks_by_cross_entropy(trellis, objective):
    """Minus a cross-entropy times a factor below one is a larger number."""
    sampler = KnownCost(objective).for_space(
        space_of(trellis), target_ms=0.01, seed=0, log_likelihood=True
    )
    study = told(sampler, trellis, 40, score=lambda ms, i: -1 - 0.001 * (i % 5))
    late = [trial.values[1] for trial in study.trials[20:]]
    assert np.median(late) < 0.015


def test_a_published_reward_of_scores_without_a_common_unit_is_refused():
    for objective in ("mnas", "tunas", "mnas_hard"):
        with pytest.raises(UserError, match="accuracy=proxies says scores of its own unit"):
            KnownCost(objective).check_scores("proxies", own_unit=True)
        KnownCost(objective).check_scores("blend", own_unit=False)
    KnownCost("tunas", "auto").check_scores("proxies", own_unit=True)
    KnownCost("both").check_scores("proxies", own_unit=True)


def test_scores_of_an_earlier_run_stay_in_their_unit(trellis):
    """exp(720) is no number."""
    earlier = [(fill_picks, 720.0 + i) for i, fill_picks in enumerate(proposals(trellis, 12))]
    space = space_of(trellis)
    sampler = KnownCost("mnas").for_space(
        space, target_ms=0.02, seed=0, earlier=earlier, log_likelihood=True
    )
    assert len(told(sampler, trellis, 14, score=lambda ms, i: -1 - 0.01 * (i % 3)).trials) == 14


def test_an_unknown_objective_is_named(trellis):
    with pytest.raises(UserError, match=r"objective.*'speed'"):
        KnownCost(objective="speed")


@pytest.mark.parametrize("objective", ["mnas", "tunas"])
def test_the_exponent_may_be_given_or_calibrated(trellis, objective):
    space = space_of(trellis)
    sampler = KnownCost(objective, -0.2).for_space(space, target_ms=0.02)
    published = KnownCost(objective).for_space(space, target_ms=0.02)
    (own,), (other,) = sampler.objectives, published.objectives
    assert own([0.5], [0.04]) < other([0.5], [0.04])
    assert len(proposals(trellis, 12, aim=objective, exponent="auto", target_ms=0.02)) == 12


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "mnas", "exponent": 0.1}, "must be a number to 0 or auto or null, not 0.1"),
        ({"objective": "mnas", "exponent": "car"}, "or auto or null, not 'car'"),
        ({"objective": "mnas", "exponent": True}, "must be a number to 0 .* not true"),
        ({"objective": "limit", "exponent": "auto"}, "means nothing to objective=limit"),
        ({"exponent": -0.1}, "means nothing to objective=both"),
    ],
)
def test_an_exponent_that_cannot_be_used_is_named(trellis, settings, words):
    with pytest.raises(UserError, match=words):
        KnownCost(**settings)


def trials_csv(folder, rows):
    pd.DataFrame(rows).to_csv(folder / "trials.csv", index=False)
    return folder


def as_rows(picks, state="complete"):
    return [
        {"state": state, "score": i / 10} | {f"pick.{k}": v for k, v in p.items()}
        for i, p in enumerate(picks)
    ]


def test_an_earlier_run_is_read_back_and_is_evidence(trellis, tmp_path):
    picks = proposals(trellis, 14, seed=5)
    failed = as_rows(proposals(trellis, 3, seed=6), "failed")
    pruned = as_rows(proposals(trellis, 3, seed=7), "pruned")
    pruned[0]["pick.stages.1.depth"] = None  # makes a column of floats out of one of integers
    choices = dict(trellis.labels)
    found = earlier_run(trials_csv(tmp_path, [*pruned, *as_rows(picks), *failed]), choices)
    assert found == [(p, i / 10) for i, p in enumerate(picks)]
    sampler = KnownCost().for_space(space_of(trellis), earlier=found, seed=1)
    assert len(sampler.earlier) == 14
    assert proposals(trellis, 12, earlier=found, seed=1) != proposals(trellis, 12, seed=1)
    narrow = choices | {"act": choices["act"][:2]}
    inside = [p for p in picks if p["act"] in narrow["act"]]
    assert [p for p, _ in earlier_run(tmp_path, narrow)] == inside


def test_what_is_no_earlier_run_of_the_space_is_one_line(trellis, tmp_path):
    choices = dict(trellis.labels)
    rows = as_rows(proposals(trellis, 2))
    with pytest.raises(UserError, match="no folder of an earlier run"):
        earlier_run(tmp_path / "none", choices)
    trials_csv(tmp_path, rows)
    with pytest.raises(UserError, match=r"another space \(1 choices differ, such as act"):
        earlier_run(tmp_path, {k: v for k, v in choices.items() if k != "act"})
    for useless in (
        as_rows([dict.fromkeys(choices, "x")]),
        as_rows(proposals(trellis, 1), "failed"),
    ):
        with pytest.raises(UserError, match="no complete trial"):
            earlier_run(trials_csv(tmp_path, useless), choices)


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
    sampler = KnownCost().for_space(space_of(trellis, 0.0), target_ms=0.02)
    front, target = sampler.objectives
    assert front is None
    assert target([0.5, 0.9], [0.01, 0.03]).tolist() == [0.5, -np.inf]
    picks = proposals(trellis, 30, target_ms=0.02, most_ms=0.03, seed=1)
    assert len({network_id(fill(SPACE, p)) for p in picks}) == 30
