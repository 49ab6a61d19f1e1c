"""When a training stops early, and what becomes of it in a study."""

from __future__ import annotations

import math
import random
from contextlib import suppress
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from spaces import SPACES
from test_study import Killed, run, study, told

from nas.accuracy.estimate import Estimate, Failure
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.search.evaluator import Evaluator
from nas.search.metrics import Metrics
from nas.search.samplers.pruning import CHANCE, MIN_COMPLETE, Pruning, rungs, thresholds
from nas.space.choices import fill, random_picks

optuna.logging.set_verbosity(optuna.logging.ERROR)


def trainings(num, noise=0.01, seed=0):
    """Values at a rung, at the end, and costs."""
    rng = np.random.default_rng(seed)
    final = rng.uniform(0.6, 0.9, num)
    return 1.5 * final - 0.6 + noise * rng.standard_normal(num), final, rng.uniform(1, 9, num)


def test_a_floor_is_where_the_front_is_as_unlikely_as_was_said():
    rung, final, costs = trainings(20)
    (floor,) = thresholds(rung, final, costs, [5.0])
    line = stats.linregress(rung, final)
    errors = final - line.intercept - line.slope * rung
    variance = errors @ errors / 18
    around = 1 + 1 / 20 + (floor - rung.mean()) ** 2 / ((rung - rung.mean()) ** 2).sum()
    level = final[costs <= 5].max()
    z = (level - line.intercept - line.slope * floor) / math.sqrt(variance * around)
    assert stats.t.sf(z, 18) == pytest.approx(CHANCE)


@given(st.integers(0, 10_000), st.floats(0.002, 0.05))
def test_floors_rise_with_cost_and_cheaper_networks_than_all_go_on(seed, noise):
    rung, final, costs = trainings(15, noise, seed)
    least = thresholds(rung, final, costs, [0.5, *np.linspace(1, 9, 8)])
    assert least[0] == -math.inf
    assert (np.diff(least[np.isfinite(least)]) >= -1e-12).all()
    assert np.isfinite(least[-1])


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.05])
def test_hardly_any_network_of_the_front_is_stopped(noise):
    stopped = lost = 0
    for seed in range(300):
        rung, final, costs = trainings(30, noise, seed)
        least = thresholds(rung[:20], final[:20], costs[:20], costs[20:])
        best = np.array([final[:20][costs[:20] <= c].max(initial=-1) for c in costs[20:]])
        stops = rung[20:] < least
        stopped += stops.sum()
        lost += (stops & (final[20:] > best)).sum()
    assert stopped > 500
    assert lost / stopped < CHANCE


def test_nothing_stops_before_enough_is_known():
    rung, final, costs = trainings(MIN_COMPLETE - 1)
    assert (thresholds(rung, final, costs, costs) == -math.inf).all()
    assert (thresholds([], [], [], [1.0, 2.0]) == -math.inf).all()


def test_nothing_stops_where_the_rung_says_nothing_of_the_end():
    rung, final, costs = trainings(30)
    shuffled = [np.random.default_rng(seed).permutation(rung) for seed in range(100)]
    stops = [(x < thresholds(x, final, costs, costs)).mean() for x in shuffled]
    assert np.mean(stops) < CHANCE
    assert np.mean(np.array(stops) == 0) > 0.9
    assert (thresholds(np.ones(30), final, costs, costs) == -math.inf).all()
    assert (thresholds(-final, final, costs, costs) == -math.inf).all()


def test_rungs_are_a_quarter_and_half_of_the_epochs():
    assert [rungs(n) for n in (1, 2, 3, 4, 20, 200)] == [(), (1,), (1,), (1, 2), (5, 10), (50, 100)]


def metrics(number, rung, final, latency, state="complete"):
    return Metrics(f"{number}", state, latency, 1, 1, 1, "", score=final, rungs={"1": rung})


def test_only_what_ran_to_the_end_teaches_and_some_are_exempt():
    known = {f"{i}": metrics(i, *row) for i, row in enumerate(zip(*trainings(20), strict=True))}
    rule = Pruning(known, (1,), frozenset({"published"}))
    new = [replace(known["0"], id=name, latency_ms=9.0) for name in ("new", "published")]
    first = rule(new)
    assert first[0][1] == pytest.approx(thresholds(*trainings(20), [9.0])[0])
    assert first[1] == {1: -math.inf}
    known["20"] = metrics(20, 0.1, 0.1, 1.0, "pruned")
    assert rule(new) == first
    known["21"] = replace(metrics(21, 0.1, 0.1, 1.0), rungs={})
    assert rule(new) == first
    assert rule([]) == []


class Timer:
    name = "macs"

    def measure_many(self, archs):
        return [type("Timing", (), {"median_ms": cost(a).macs / 1e6})() for a in archs]


class Learner:
    """Judges by arithmetic with a rung halfway, and may die after some networks."""

    def __init__(self, lives=math.inf):
        self.seen, self.lives = [], lives

    def estimate(self, archs, thresholds):
        for i, arch in enumerate(archs):
            if len(self.seen) >= self.lives:
                raise Killed
            self.seen.append(network_id(arch))
            yield i, self.one(arch, thresholds[i])

    def one(self, arch, least):
        luck = random.Random(network_id(arch)).random()
        final = 0.5 + cost(arch).macs / 1e8 + luck / 10
        rung = final - 0.2 + 0.01 * luck
        if luck > 0.97:
            return Failure("unlucky")
        if rung < least[1]:
            stopped = {"rungs": {1: rung}, "threshold": least[1]}
            return Estimate(rung, 0.01, 1.0, "1 of 2 epochs", **stopped)
        return Estimate(final, 0.01, 2.0, "2 epochs", rungs={1: rung})


def pruned_run(folder, learner, trials=40, sampler="nsga2", batch=4):
    s = study(folder, sampler=sampler)
    evaluator = Evaluator(Timer(), learner, pruning=Pruning(s.known, (1,)))
    run(s, evaluator, trials=trials, batch=batch, folder=folder)
    return s


@pytest.mark.parametrize("sampler", ["nsga2", "random", "tpe"])
def test_stopped_trainings_are_spent_kept_told_as_pruned_and_not_repeated(tmp_path, sampler):
    learner = Learner()
    s = pruned_run(tmp_path, learner, sampler=sampler)
    rows = s.rows()
    pruned = [r for r in rows if r["state"] == "pruned"]
    assert pruned
    assert len(learner.seen) == len(set(learner.seen)) == s.num_evaluated == 40
    for row in pruned:
        assert row["accuracy"] is None
        assert row["rungs"] == {"1": row["score"]}
        assert row["fidelity"] == "1 of 2 epochs"
        assert "needed for the front" in row["reason"]
        trial = s.optuna.get_trials()[row["number"]]
        assert trial.state == optuna.trial.TrialState.PRUNED
        assert trial.user_attrs["rungs"] == row["rungs"]
    assert not {t.number for t in s.optuna.best_trials} & {r["number"] for r in pruned}


def test_killed_in_a_run_with_pruning_it_goes_on_to_the_same_end(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = pruned_run(tmp_path / "whole", Learner())
    seen = []
    while len(seen) < len(whole.known):
        learner = Learner(lives=7)
        with suppress(Killed):
            pruned_run(tmp_path / "killed", learner)
        seen += learner.seen
    assert len(seen) == len(set(seen))
    again = study(tmp_path / "killed")
    assert [r["score"] for r in again.rows()] == [r["score"] for r in whole.rows()]
    assert [row[2] for row in told(again)] == [row[2] for row in told(whole)]


class Noisy(Learner):
    """One whose rungs tell little of the end."""

    def one(self, arch, least):
        end = super().one(arch, {1: -math.inf})
        if isinstance(end, Failure):
            return end
        rung = end.value - 0.2 + 0.2 * random.Random(network_id(arch)[::-1]).random()
        if rung < least[1]:
            return Estimate(rung, 0.01, 1.0, "1 of 2 epochs", rungs={1: rung}, threshold=least[1])
        return replace(end, rungs={1: rung})


@pytest.mark.parametrize("lives", [9, 11, 13, 19, 21, 25, 27, 33])
def test_after_a_kill_no_training_is_stopped_that_would_have_gone_on(tmp_path, lives):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = pruned_run(tmp_path / "whole", Noisy(), sampler="random", batch=8)
    with suppress(Killed):
        pruned_run(tmp_path / "killed", Noisy(lives=lives), sampler="random", batch=8)
    again = pruned_run(tmp_path / "killed", Noisy(), sampler="random", batch=8)
    assert {row["state"] for row in whole.rows()} >= {"complete", "pruned"}
    assert again.rows() == whole.rows()


def test_without_a_rule_judges_get_no_thresholds():
    space, draws = SPACES["mbconv_28"], random.Random(0)
    arch = fill(space, random_picks(space, draws))

    class Judge:
        def estimate(self, archs, thresholds):
            assert not thresholds
            yield 0, Failure("asked without thresholds")

    ((_, found),) = Evaluator(Timer(), Judge())([arch])
    assert found.reason == "asked without thresholds"
