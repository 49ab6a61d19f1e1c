"""Judging in processes: one failure, even a dead process, costs one network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import torch

from nas.accuracy.estimate import Failure
from nas.accuracy.pool import part_done
from nas.accuracy.worker_pool import WorkerPool
from nas.arch.arch import Arch, Stage
from nas.core.errors import UserError


def arch(width: int) -> Arch:
    return Arch((Stage(width),), resolution=8)


broken: list[int] = []  # of this process's GPU, which answers no more


def judge_widths(network: Arch) -> int:
    """Fails at width 24, dies at width 32, for good on a GPU at 64, else gives the width."""
    width = network.stages[0].width
    if width == 24:
        raise RuntimeError("loss is\nnan")
    if width == 32:
        os.kill(os.getpid(), signal.SIGKILL)
    if width == 64:
        broken.append(width)
    if broken:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    if width == 40:
        raise UserError("yours to mend")
    return width


def make_judge():
    return judge_widths


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_and_failures_with_their_reason(workers):
    with WorkerPool(make_judge, workers) as pool:
        failed = Failure("RuntimeError: loss is nan")
        assert dict(pool.estimate([arch(8), arch(24), arch(16)])) == {0: 8, 1: failed, 2: 16}
        assert list(pool.estimate([])) == []


def judge_with_more(network: Arch, more: dict[int, float], word: str) -> tuple[Any, ...]:
    """Answers with all that it was given."""
    return network.stages[0].width, more, word


def make_judge_with_more():
    return judge_with_more


@pytest.mark.parametrize("workers", [1, 2])
def test_a_judge_is_given_plain_values_beside_each_network(workers):
    more = [{1: 0.5}, {}]
    with WorkerPool(make_judge_with_more, workers) as pool:
        found = dict(pool.run(list(zip([arch(8), arch(16)], more, "ab", strict=True))))
    assert found == {0: (8, {1: 0.5}, "a"), 1: (16, {}, "b")}


def test_a_network_that_kills_its_process_is_the_only_loss():
    threads = set(threading.enumerate())
    with WorkerPool(make_judge, 2) as pool:
        answers = dict(pool.estimate([arch(8), arch(32), arch(16), arch(48)]))
        died = Failure("its process died (out of memory?)")
        assert answers == {0: 8, 1: died, 2: 16, 3: 48}
        assert list(pool.estimate([arch(56)])) == [(0, 56)]
    assert not set(threading.enumerate()) - threads  # one left behind fails when Python ends


def test_networks_that_had_not_begun_are_judged_by_all_workers(monkeypatch):
    pools, submit = [], WorkerPool._submit

    def counting(pool, index, task, workers=None):
        if pool._executor is None:
            pools.append(workers or pool.workers)
        return submit(pool, index, task, workers)

    monkeypatch.setattr(WorkerPool, "_submit", counting)
    with WorkerPool(make_judge, 2) as pool:
        answers = dict(pool.estimate([arch(32), *[arch(8), arch(16)] * 8]))
    assert answers.pop(0) == Failure("its process died (out of memory?)")
    assert answers == dict(enumerate([8, 16] * 8, 1))
    assert pools[0] == 2
    assert pools.count(1) <= 2  # of the networks that were under way
    assert pools.count(2) <= 2


def test_a_gpu_that_answers_no_more_costs_one_network(monkeypatch):
    """Whatever a process asks of it later fails too, so the process is given up."""
    with WorkerPool(make_judge, 2) as pool:
        answers = dict(pool.estimate([arch(8), arch(64), arch(16), arch(48), arch(56)]))
    assert answers.pop(1) == Failure("its process died (out of memory?)")
    assert answers == {0: 8, 2: 16, 3: 48, 4: 56}
    monkeypatch.setattr(f"{__name__}.broken", [])
    with WorkerPool(make_judge, 1) as pool, pytest.raises(RuntimeError, match="illegal memory"):
        list(pool.estimate([arch(64), arch(16)]))


def judge_slowly(arch, go_on):
    part_done(1, 4)
    while not go_on.exists():
        time.sleep(0.02)
    part_done(3, 4)
    return 7


def make_slow_judge():
    return judge_slowly


@pytest.mark.parametrize("workers", [1, 2])
def test_whoever_watches_is_told_how_far_each_is(workers, tmp_path):
    go_on, heard = tmp_path / "go on", []

    def told(parts):
        heard.append(parts)
        if workers == 1 or parts == {0: 0.25, 1: 0.25}:
            go_on.touch()

    with WorkerPool(make_slow_judge, workers) as pool, pool.watched(told):
        assert dict(pool.run([(arch(8), go_on), (arch(16), go_on)])) == {0: 7, 1: 7}
    if workers == 1:
        assert heard == [{0: 0.25}, {0: 0.75}, {1: 0.25}, {1: 0.75}]
    assert heard[-1] in ({}, {1: 0.75})  # what has ended is not under way
    with WorkerPool(make_slow_judge, 2) as pool, pool.watched(heard.append):
        list(pool.run([(arch(width), go_on) for width in (8, 16, 24)]))
        heard.clear()
        list(pool.run([(arch(8), go_on)]))  # the other worker's place holds what it did before
    assert all(set(parts) <= {0} for parts in heard)
    number = len(heard)
    with WorkerPool(make_slow_judge, 1) as pool:
        list(pool.run([(arch(8), go_on)]))
    assert len(heard) == number


def make_nothing():
    raise UserError("the pictures are gone")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_judge_that_cannot_be_made_says_why(workers):
    with (
        WorkerPool(make_nothing, workers) as pool,
        pytest.raises(UserError, match="pictures are gone"),
    ):
        list(pool.estimate([arch(8), arch(16)]))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_users_mistake_is_not_swallowed(workers):
    with WorkerPool(make_judge, workers) as pool, pytest.raises(UserError, match="yours to mend"):
        list(pool.estimate([arch(40)]))


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from nas.accuracy.worker_pool import WorkerPool\n"
        "from nas.arch.arch import Arch, Stage\n"
        "def judge(arch):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "def make():\n"
        "    return judge\n"
        "if __name__ == '__main__':\n"
        "    list(WorkerPool(make, 2).estimate([Arch((Stage(8),)), Arch((Stage(16),))]))\n"
    )
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
    deadline = time.monotonic() + 60
    while any(alive(child) for child in children):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
