"""Training from scratch: what rungs leave alone, and where they stop it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from stripes import DATA, SPACE, TRAINING, archs

from nas.accuracy.judge import JudgeContext
from nas.accuracy.scratch import Scratch, ScratchSettings
from nas.accuracy.worker_pool import WorkerPool
from nas.core.errors import UserError

NEVER = -math.inf


def data():
    return DATA


def make():
    return Scratch.open(data, TRAINING, "cpu", 0)


def test_looking_on_the_way_changes_nothing():
    judge, arch = make(), archs(1)[0]
    plain, looked = judge(arch), judge(arch, {1: NEVER, 2: NEVER})
    assert looked.threshold is None
    assert (looked.val, looked.test) == (plain.val, plain.test)
    assert plain.rungs == {}
    assert list(looked.rungs) == [1, 2]
    # the first epoch of a training is the first rung's
    assert judge(arch, {1: NEVER}).rungs == {1: looked.rungs[1]}


def test_a_training_stops_below_its_threshold_and_not_at_it():
    judge, arch = make(), archs(1)[0]
    reached = judge(arch, {1: NEVER, 2: NEVER}).rungs
    on = judge(arch, dict(reached))
    assert on.threshold is None
    assert on.rungs == reached
    off = judge(arch, {1: NEVER, 2: math.nextafter(reached[2], 1)})
    assert off.rungs == reached
    assert off.value == reached[2] < off.threshold
    assert off.fidelity == "2 of 3 epochs"
    assert (off.val, off.test) == (None, None)
    assert judge(arch, {1: 2.0, 2: NEVER}).threshold == 2.0


def test_without_pruning_nothing_is_looked_at_on_the_way():
    with WorkerPool(make, 1) as pool:
        for prune in (True, False):
            judge = ScratchSettings(prune).open(JudgeContext(SPACE, data, train=pool))
            ((_, estimate),) = judge.estimate(archs(1), [{1: 2.0}])
            assert bool(estimate.rungs) == prune
    with pytest.raises(UserError, match=r"accuracy\.prune"):
        ScratchSettings(prune="yes")


def test_a_rung_at_the_end_or_beyond_stops_nothing():
    judge = replace(make(), budget=replace(TRAINING, epochs=1))
    assert judge(archs(1)[0], {1: 2.0, 2: 2.0}).threshold is None


def test_thresholds_reach_worker_processes():
    networks = archs(3)
    thresholds = [{1: NEVER}, {1: 2.0}, {2: NEVER}]
    with WorkerPool(make, 2) as pool:
        estimates = dict(pool.estimate(networks, thresholds))
    assert [estimates[i].threshold for i in range(3)] == [None, 2.0, None]
    here = [make()(arch, least) for arch, least in zip(networks, thresholds, strict=True)]
    assert [estimates[i].rungs for i in range(3)] == [estimate.rungs for estimate in here]
