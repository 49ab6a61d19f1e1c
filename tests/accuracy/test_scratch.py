"""Training from scratch: what rungs leave alone, and where they stop it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from stripes import DATA, TRAINING, archs

from nas.accuracy.answer import Stopped
from nas.accuracy.scratch import Judgement, Scratch
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
    assert isinstance(looked, Judgement)
    assert (looked.val, looked.test) == (plain.val, plain.test)
    assert plain.rungs == {}
    assert list(looked.rungs) == [1, 2]
    # the first epoch of a training is the first rung's
    assert judge(arch, {1: NEVER}).rungs == {1: looked.rungs[1]}


def test_a_training_stops_below_the_floor_and_not_at_it():
    judge, arch = make(), archs(1)[0]
    reached = judge(arch, {1: NEVER, 2: NEVER}).rungs
    on = judge(arch, dict(reached))
    assert isinstance(on, Judgement)
    assert on.rungs == reached
    off = judge(arch, {1: NEVER, 2: math.nextafter(reached[2], 1)})
    assert isinstance(off, Stopped)
    assert off.rungs == reached
    assert off.epochs == 3
    assert off.floor > reached[2]
    assert isinstance(judge(arch, {1: 2.0, 2: NEVER}), Stopped)


def test_without_pruning_nothing_is_looked_at_on_the_way():
    judge = replace(make(), prune=False)
    assert judge(archs(1)[0], {1: 2.0}).rungs == {}
    with pytest.raises(UserError, match=r"accuracy\.prune"):
        replace(make(), prune="yes")


def test_a_rung_at_the_end_or_beyond_stops_nothing():
    judge = replace(make(), budget=replace(TRAINING, epochs=1))
    assert isinstance(judge(archs(1)[0], {1: 2.0, 2: 2.0}), Judgement)


def test_floors_reach_worker_processes():
    networks = archs(3)
    least = [{1: NEVER}, {1: 2.0}, {2: NEVER}]
    with WorkerPool(make, 2) as pool:
        found = dict(pool(networks, least))
    assert [type(found[i]) for i in range(3)] == [Judgement, Stopped, Judgement]
    here = [make()(arch, floor) for arch, floor in zip(networks, least, strict=True)]
    assert [found[i].rungs for i in range(3)] == [answer.rungs for answer in here]
