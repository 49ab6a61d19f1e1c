"""The phases of a search that inherits weights, with workers that train nothing."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nas.accuracy.estimate import Estimate
from nas.accuracy.pool import Pool
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import network_id
from nas.arch.serialization import dumps
from nas.inheritance.files import replacements_path, save_tensors, weights_path
from nas.search.evaluations import Evaluations, Role
from nas.search.evaluator import Evaluator
from nas.search.inheriting import controls, finish, prepare
from nas.search.metrics import Metrics
from nas.search.run import counted_seconds
from search_spaces.inherited import at_resolution, inherited, replacement_rows

MINE = Arch(
    (Stage(16, 2, 2, Block(kernel=5, expand=4)), Stage(24, 2, 2, Block(expand=6))),
    Stem(8), Head(32), resolution=48, channels=3, classes=4, name="mine",
)  # fmt: skip


@dataclass
class Notes:
    """The notes of a run."""

    kept: dict[str, Any] = field(default_factory=dict)

    def notes(self) -> dict[str, Any]:
        return dict(self.kept)

    def note(self, key: str, make: Callable[[], Any]) -> Any:
        return self.kept.setdefault(key, make())

    def set_note(self, key: str, value: Any) -> None:
        self.kept[key] = value


class Leaving(Pool):
    """Workers that do nothing but leave files; `done` are the tasks that they got."""

    def __init__(self, folder, space):
        super().__init__(1)
        self.folder, self.space, self.done = folder, space, []

    def run(self, tasks):
        for i, (arch, task) in enumerate(tasks):
            self.done.append((task, arch.resolution))
            paths = [weights_path(self.folder, arch, task)]
            if task == "study":
                keys = replacement_rows(self.space, arch.resolution)
                paths = [replacements_path(self.folder, arch.resolution, key) for key in keys]
            for path in paths:
                save_tensors(path, {})
            yield i, Estimate(0.5, 0.1, 7.0, task)

    def close(self):
        pass


@pytest.fixture
def run(tmp_path):
    """A run of MINE at two sides, of which nothing is done."""
    (tmp_path / "mine.yaml").write_text(dumps(MINE))
    space = inherited(str(tmp_path / "mine.yaml"), [48, 32], [0.5], [3], classes=4)
    workers = Leaving(tmp_path, space)
    return SimpleNamespace(
        folder=tmp_path,
        problem=SimpleNamespace(space=space),
        settings=SimpleNamespace(arch="mine.yaml", storage=None),
        store=Notes(),
        console=Console(file=io.StringIO()),
        workers=workers,
        evaluations=Evaluations(tmp_path / "evaluations.jsonl"),
        evaluator=Evaluator(None, workers),
    )


def wholes(run):
    return [at_resolution(run.problem.space, side) for side in (48, 32)]


@pytest.mark.parametrize("task", ["train", "study"])
def test_what_was_prepared_is_made_again_where_its_files_were_deleted(run, task):
    prepare(run, task, wholes(run))
    prepare(run, task, wholes(run))
    assert run.workers.done == [(task, 48), (task, 32)]
    weights = weights_path(run.folder, wholes(run)[1], "train")
    replacements = next((run.folder / "replacements").glob("32-*"), None)
    (replacements or weights).unlink()
    prepare(run, task, wholes(run))
    assert run.workers.done[2:] == [(task, 32)]


def test_networks_are_trained_again_where_their_weights_were_deleted(run):
    done, failed = wholes(run)
    for arch, state in ((done, "complete"), (failed, "failed")):
        run.evaluations.add(Role.FINALIST, arch, Metrics(network_id(arch), state, 1.0, 1, 1, 1, ""))
    finish(run, Role.FINALIST, "finish", [done])
    finish(run, Role.FINALIST, "finish", [done])
    assert run.workers.done == [("finish", 48)]
    assert run.evaluations.missing(Role.FINALIST, [done, failed]) == [failed]


@pytest.mark.parametrize(("ms", "names"), [(9.0, []), (1.0, ["equal ratios"])])
def test_a_rival_of_equal_ratios_is_as_fast_as_the_winner_or_there_is_none(run, ms, names):
    """Every network of the space takes `ms`."""
    winner, said = wholes(run)[1], []
    metrics = Metrics(network_id(winner), "complete", 2.0, 1, 1, 1, "", score=-1.0)
    run.evaluations.add(Role.FINALIST, winner, metrics)
    run.settings.spread, run.settings.seed, run.problem.target_ms = 1, 0, 3.0
    run.problem.sample_near = lambda target, number, seed: []
    timing = SimpleNamespace(median_ms=ms)
    run.problem.latency = SimpleNamespace(measure_many=lambda archs: [timing] * len(archs))
    assert list(controls(run, said.append)[1].values()) == names
    assert said == (
        [] if names else ["left out  equal ratios: none is within 2 ms, as the winner is"]
    )


def test_the_time_of_a_call_counts_where_it_did_anything(run):
    run.study = SimpleNamespace(num_evaluated=0)
    metrics = Metrics(network_id(wholes(run)[0]), "complete", 1.0, 1, 1, 1, "")
    steps = {
        0: lambda: None,
        7: lambda: prepare(run, "train", wholes(run)),
        14: lambda: run.evaluations.add(Role.CONTROL, wholes(run)[0], metrics),
    }
    for least, step in steps.items():
        with counted_seconds(run, time.perf_counter() - 7):
            step()
        assert run.store.kept.get("seconds", 0) >= least
    counted = run.store.kept["seconds"]
    with counted_seconds(run, time.perf_counter() - 7):
        prepare(run, "train", wholes(run))  # which is done
    assert run.store.kept["seconds"] == counted
