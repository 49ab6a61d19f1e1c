"""What is measured of members: once, kept through a kill, each at its own resolution."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from stripes import CPU, DATA, TRAINING, batches

from nas.accuracy.scratch import Scratch
from nas.accuracy.worker_pool import WorkerPool
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.core.errors import UserError
from nas.data.batches import Resized, eval_batch_size
from nas.latency.lookup import Lookup
from nas.latency.timing import Timing
from nas.network.device import resolve_device
from nas.scale.measurements import cached_latency, train_cached

NET = Arch((Stage(8), Stage(16, stride=2)), Stem(8, stride=1), Head(16, dropout=0.0), resolution=8,
           channels=2, classes=4)  # fmt: skip
LARGER = replace(NET, resolution=12)
SHORT = replace(TRAINING, epochs=1)


class Clock:
    """A backend that says 1 ms for each row, and counts what it was asked."""

    name = "clock"

    def __init__(self):
        self.asked = 0

    def identity(self):
        return {"backend": "clock"}

    def measure_rows(self, parts, padding="symmetric", on_timing=None):
        self.asked += len(parts)
        timings = [Timing(float(len(rows)), 0, 0, 0, 1, False) for rows in parts]
        for i, timing in enumerate(timings):
            on_timing(i, timing)
        return timings


def test_a_latency_is_measured_once_in_the_life_of_a_folder(tmp_path):
    clock, console = Clock(), Console(quiet=True)
    first = cached_latency(clock, tmp_path, "symmetric", console)([NET, LARGER, NET])
    assert first == [6, 6, 6]  # stem, two blocks, head, pool, classifier
    assert clock.asked == 2
    again = cached_latency(clock, tmp_path, "symmetric", console)([LARGER, NET])
    assert (again, clock.asked) == ([6, 6], 2)


def test_a_table_is_read_and_not_kept(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("op,ms\nnetwork,1\n")
    ms = cached_latency(Lookup(str(path)), tmp_path, "symmetric", Console(quiet=True))
    with pytest.raises(UserError, match="has no line for the block"):
        ms([NET])
    assert {p.name for p in tmp_path.iterdir()} == {"table.csv"}


def test_images_are_resized_batch_by_batch():
    plain = batches(DATA.val, shuffle=False)
    resized = Resized(plain, 12)
    assert len(resized) == len(plain)
    for (images, labels), (own, same) in zip(resized.epoch(0), plain.epoch(0), strict=True):
        assert images.shape == (len(labels), 2, 12, 12)
        assert torch.equal(labels, same)
        assert float(images.mean()) == pytest.approx(float(own.mean()), abs=0.02)
    own, kept = next(plain.epoch(0))[0], next(Resized(plain, 8).epoch(0))[0]
    assert torch.equal(own, kept)


def test_epochs_and_seed_of_one_training_take_the_place_of_those_of_all():
    ours = Scratch(DATA, SHORT, "cpu")(NET, epochs=2, seed=5)
    theirs = Scratch(DATA, replace(SHORT, epochs=2), "cpu", seed=5)(NET)
    assert (ours.val, ours.test) == (theirs.val, theirs.test)
    assert ours.fidelity == "2 epochs"


def test_epochs_seed_and_resolution_all_count():
    judge = Scratch(DATA, SHORT, "cpu", test=False)
    jobs = ((NET, 1, 0), (NET, 2, 0), (NET, 1, 1), (LARGER, 1, 0))
    losses = [judge(arch, {}, *more).val.cross_entropy for arch, *more in jobs]
    assert len(set(losses)) == 4
    again = judge(NET, epochs=1, seed=0)
    assert again.val.cross_entropy == losses[0]
    assert again.test is None


def test_large_inputs_are_scored_in_small_batches():
    assert [eval_batch_size(side) for side in (28, 224, 800)] == [500, 16, 16]
    assert resolve_device("cpu") == CPU


def make():
    return Scratch(DATA, SHORT, "cpu")


JOBS = [(NET, 1, 0), (LARGER, 1, 0)]


class Bar:
    """Keeps what a progress bar is to show."""

    def __init__(self) -> None:
        self.epochs, self.parts = [], []

    def __call__(self, done: int, say: str) -> None:
        self.epochs.append(done)

    def set_partial(self, part: float) -> None:
        self.parts.append(part)


def test_what_was_trained_is_not_trained_again(tmp_path):
    path, bar = tmp_path / "trained.jsonl", Bar()
    jobs = [(NET, 1, 0), (LARGER, 2, 0)]
    with WorkerPool(make, 1) as pool:
        rows = train_cached(pool, jobs, path, "salt", bar)
    assert bar.epochs == [0, 1, 3]
    assert bar.parts[-1] == 2  # of the second, when it was trained and not yet scored
    assert all(0 < part <= 2 for part in bar.parts)
    assert all(0 <= row["accuracy"] <= 1 and row["cross_entropy"] > 0 for row in rows)

    def never():
        raise AssertionError("trained again")

    assert train_cached(WorkerPool(never, 1), jobs, path, "salt", bar) == rows
    with pytest.raises(AssertionError, match="trained again"):
        train_cached(WorkerPool(never, 1), jobs, path, "other data", bar)


def test_a_line_that_was_cut_costs_that_line(tmp_path):
    path = tmp_path / "trained.jsonl"
    with WorkerPool(make, 1) as pool:
        rows = train_cached(pool, JOBS, path, "salt", Bar())
        path.write_text(path.read_text()[:-20])
        assert [json.loads(line) for line in path.read_text().splitlines()[:1]]
        again = train_cached(pool, JOBS, path, "salt", Bar())
    for row, other in zip(rows, again, strict=True):
        assert row["accuracy"] == other["accuracy"]
    assert np.isfinite([row["seconds"] for row in again]).all()


def test_a_training_that_fails_says_why_and_is_tried_again(tmp_path):
    path = tmp_path / "trained.jsonl"
    broken = replace(NET, resolution=1, stages=(Stage(8, stride=2), Stage(8, stride=2)))
    with WorkerPool(make, 1) as pool:
        rows = train_cached(pool, [(replace(NET, channels=3), 1, 0)], path, "salt", Bar())
    assert "channels" in rows[0]["reason"]
    assert not path.exists()
    with pytest.raises(UserError), WorkerPool(make, 1) as pool:
        train_cached(pool, [(broken, 1, 0)], path, "salt", Bar())
