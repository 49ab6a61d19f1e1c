"""Judging on a real Ray of two workers, begun and ended by the test."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas.accuracy import ray_pool
from nas.accuracy.estimate import Failure
from nas.accuracy.executor import LocalExecutor, RayExecutor
from nas.accuracy.pool import part_done
from nas.accuracy.ray_pool import RayPool
from nas.arch.arch import Arch, Stage
from nas.core.cluster import IDLE_S, Lost, Needs, check_resources, check_versions, connect, versions
from nas.core.errors import UserError

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'mobile-nas[ray]'")
IMAGES = list(range(5))


def arch(width: int) -> Arch:
    return Arch((Stage(width),), resolution=8)


def load() -> list[int]:
    return IMAGES


class Judge:
    """Adds the images to the width; what else it does depends on the width."""

    def __init__(self, folder: Path, images: list[int]) -> None:
        self.folder, self.images = folder, images
        with (folder / "made").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def __call__(self, network: Arch, word: str = "") -> Any:
        width = network.stages[0].width
        if width == 24:
            raise RuntimeError("loss is\nnan")
        if width == 40:
            raise UserError("yours to mend")
        if width == 32 or (width == 48 and not (self.folder / "lost").exists()):
            (self.folder / "lost").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if width == 56 and not (self.folder / "hung").exists():
            (self.folder / "hung").touch()
            time.sleep(600)
        return width + sum(self.images), word


def make_with(folder: Path):
    def make(load):
        return lambda: Judge(folder, load())

    return make


@pytest.fixture(scope="module")
def cluster():
    """A Ray of two workers for all tests, so that its start is paid once."""
    close = connect(None, Needs(), 2)
    yield
    close()


@pytest.fixture
def pool(cluster, tmp_path):
    with RayExecutor(retries=1, timeout_s=60).open(make_with(tmp_path), load, 2) as opened:
        yield opened


def test_answers_and_failures_are_those_of_local_processes(pool, tmp_path):
    tasks = [(arch(8), "a"), (arch(24), "b"), (arch(16), "c")]
    with LocalExecutor().open(make_with(tmp_path), load, 1) as local:
        expected = dict(local.run(tasks))
    assert dict(pool.run(tasks)) == expected
    assert expected == {0: (18, "a"), 1: Failure("RuntimeError: loss is nan"), 2: (26, "c")}
    assert list(pool.run([])) == []


def test_a_function_is_made_once_in_each_worker(pool, tmp_path):
    assert len(dict(pool.estimate([arch(8 * i) for i in (1, 2, 8, 9, 10, 11)]))) == 6
    made = (tmp_path / "made").read_text().split()
    assert len(made) == len(set(made)) <= 2


def test_a_lost_worker_costs_a_repetition_and_its_network_is_judged(pool, capsys):
    assert dict(pool.estimate([arch(8), arch(48)])) == {0: (18, ""), 1: (58, "")}
    assert pool.num_lost == 1
    assert capsys.readouterr().out == ""  # Ray has a paragraph for each


def test_a_network_that_kills_every_worker_is_the_only_loss(pool):
    answers = dict(pool.estimate([arch(8), arch(32), arch(16)]))
    assert answers.pop(1).reason.startswith("its worker was lost 2 times")
    assert answers == {0: (18, ""), 2: (26, "")}
    assert pool.num_lost == 2


class Scripted(RayPool):
    """Without Ray: every network loses its worker, but those of the widths that live."""

    def __init__(self, *alive: int) -> None:
        super().__init__(make_with, load, 2, address=None, needs=Needs(), retries=1)
        self.alive, self.asked = alive, {}

    def connect(self):
        return lambda call, task: self.asked.setdefault(call, task) and call

    def _ended(self):
        call = min(self._running)
        i, _ = self._running.pop(call)
        width = self.asked[call][0].stages[0].width
        yield i, (width, "") if width in self.alive else Lost("killed")

    def _look(self) -> None:
        pass


def test_no_network_is_blamed_where_every_worker_is_lost():
    """As on a full disk."""
    pool = Scripted()
    with pytest.raises(UserError, match="2 networks lost every worker, and no other"):
        list(pool.estimate([arch(16), arch(24)]))
    assert pool.num_lost == 4


def test_where_others_are_judged_networks_that_lose_their_workers_fail():
    answers = dict(Scripted(8).estimate([arch(24), arch(16), arch(8)]))
    assert [type(answers[i]) for i in range(3)] == [Failure, Failure, tuple]
    assert answers[0].reason == "its worker was lost 2 times: killed"


def test_a_cluster_that_has_no_machine_left_is_said(monkeypatch):
    """Ray would wait for one without end."""
    pool = RayPool(make_with, load, 2, address=None, needs=Needs(), retries=1)
    nodes = [{"Alive": False, "Resources": {"CPU": 4.0}}]
    board = SimpleNamespace(read=SimpleNamespace(remote=lambda: None))
    ray = SimpleNamespace(
        nodes=lambda: nodes, get=lambda *_, **__: {}, exceptions=pool._ray.exceptions
    )
    monkeypatch.setattr(pool, "_ray", ray)
    monkeypatch.setattr(pool, "_board", board)
    pool._busy = time.monotonic()
    pool._look()
    pool._busy -= IDLE_S + 1
    with pytest.raises(
        UserError, match=r"lost, and for .* no machine of the Ray .* when one is back"
    ):
        pool._look()
    nodes[0]["Alive"] = True
    pool._look()


def test_a_worker_whose_gpu_answers_no_more_ends(monkeypatch):
    """Its network is judged again elsewhere; the search goes on."""
    ended = []

    def ends(code):
        ended.append(code)
        raise SystemExit(code)

    def broken(network):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(os, "_exit", ends)
    monkeypatch.setattr(ray_pool, "tell", lambda *_: None)
    monkeypatch.setattr(ray_pool, "_made", ("mine", broken))
    with pytest.raises(SystemExit):
        ray_pool.judge_in_worker("mine", {}, lambda: broken, 1, None, 0, (arch(8),))
    assert ended == [1]


def test_a_worker_that_hangs_is_given_up(cluster, tmp_path):
    with RayExecutor(retries=1, timeout_s=10).open(make_with(tmp_path), load, 2) as opened:
        assert dict(opened.estimate([arch(8)])) == {0: (18, "")}  # imports are paid
        assert dict(opened.estimate([arch(56), arch(16)])) == {0: (66, ""), 1: (26, "")}
        assert opened.num_lost == 1


def test_what_is_the_users_to_mend_is_raised(pool):
    with pytest.raises(UserError, match="yours to mend"):
        list(pool.estimate([arch(40), arch(8)]))
    assert dict(pool.estimate([arch(16)])) == {0: (26, "")}  # nothing of that call is left


def test_what_a_caller_leaves_is_ended_in_its_worker(cluster):
    """Not by Ray's own cancel, which can end this process."""

    def judge(network: Arch) -> int:
        width = network.stages[0].width
        while width == 16:  # without end
            part_done(1, 4)
            time.sleep(0.02)
        return width

    def leave(parts):
        raise KeyboardInterrupt

    with RayExecutor(cpus=2).open(lambda load: lambda: judge, load, 1) as pool:  # all there is
        with pool.watched(leave), pytest.raises(KeyboardInterrupt):
            list(pool.estimate([arch(16)]))
        assert dict(pool.estimate([arch(24)])) == {0: 24}


def test_whoever_watches_is_told_how_far_each_is(cluster, tmp_path):
    go_on = tmp_path / "go on"

    def judge_slowly(network: Arch) -> int:
        part_done(1, 4)
        while not go_on.exists():
            time.sleep(0.02)
        return 7

    def told(parts):
        if parts == {0: 0.25, 1: 0.25}:
            go_on.touch()

    with (
        RayExecutor().open(lambda load: lambda: judge_slowly, load, 2) as pool,
        pool.watched(told),
    ):
        assert dict(pool.estimate([arch(8), arch(16)])) == {0: 7, 1: 7}


def test_images_are_in_the_object_store_once(cluster, tmp_path):
    calls = []
    with RayExecutor().open(make_with(tmp_path), lambda: calls.append(1) or IMAGES, 2) as pool:
        assert dict(pool.estimate([arch(8), arch(16)])) == {0: (18, ""), 1: (26, "")}
    assert calls == [1]


def test_the_wait_for_ray_is_shown(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nas.core.progress.QUIET_S", 0.0)
    with RayExecutor().open(make_with(tmp_path), load, 2):
        assert capsys.readouterr().out == "ray       1/1 · done · 2 workers of this machine\n"


def test_a_worker_of_other_versions_is_refused():
    check_versions(versions())
    with pytest.raises(UserError, match=r"has torch .*, the process that asks has 1\.0: install"):
        check_versions(versions() | {"torch": "1.0"})


def test_needs_that_no_machine_has_are_refused(cluster):
    with pytest.raises(UserError, match="has 1 CPU, 1 phone, which each worker needs"):
        connect(None, Needs(1, 0, {"phone": 1.0}), 2)  # of the cluster that is there
    with pytest.raises(UserError, match="has 2 CPU, 1 GPU, 1 phone, which each worker needs"):
        check_resources([{"Alive": True, "Resources": {"CPU": 4.0}}], Needs(2, 1, {"phone": 1.0}))
    check_resources([{"Alive": True, "Resources": {"CPU": 4.0, "phone": 2.0}}], Needs(1, 0))


@pytest.mark.parametrize("text", ["phone", "{phone: none}", "{phone: -1}", "[1]", "{a: [}"])
def test_resources_that_cannot_be_read_are_refused(text):
    with pytest.raises(UserError, match=r"executor\.resources must be names with numbers"):
        RayExecutor(resources=text)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_ray_that_is_slow_to_start_has_a_second_chance(monkeypatch, failing):
    """Ray raises a bare Exception after 30 s."""
    began, ended = [], []

    def init(address, **more):
        began.append(address)
        if len(began) <= failing:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(1))
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    if failing < 2:
        connect(None, Needs(), 2)
    else:
        with pytest.raises(UserError, match="no Ray at address=null: The current node timed out"):
            connect(None, Needs(), 2)
    assert began == ["local", "local"]
    assert ended == [1]


def test_an_address_without_a_cluster_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(UserError, match=f"there is no Ray at address={address}: "):
            RayExecutor(address=address).open(make_with(tmp_path), load, 1)
