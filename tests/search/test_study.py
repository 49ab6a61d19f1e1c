"""The ask and tell loop: what it proposes, what it never does twice, and how it goes on."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.trial import Trial
from spaces import SPACES

import nas.search.study as study_module
from nas.accuracy.worker_pool import Failure
from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.run_folder import lock_folder
from nas.search.evaluator import Evaluator
from nas.search.metrics import Metrics
from nas.search.storage import storage_at
from nas.search.study import Study
from nas.space.choices import choices, fill, one_of, picks_of
from nas.space.limits import Limits
from search_spaces.lookup import members

SPACE = SPACES["mbconv_28"]
SAMPLERS = {
    "nsga2": partial(optuna.samplers.NSGAIISampler, population_size=6),
    "random": optuna.samplers.RandomSampler,
    "tpe": partial(optuna.samplers.TPESampler, n_startup_trials=4),
}


class Killed(BaseException):
    """What a test raises where a process would have been killed."""


class Fake:
    """Evaluates by arithmetic; counts what it was asked, and may die after `lives` networks."""

    def __init__(self, limits: Limits | None = None, lives: float = float("inf")) -> None:
        self.seen: list[str] = []
        self.lives = lives
        self.limits = limits or Limits()

    def __call__(self, archs: list[Arch]) -> Iterator[tuple[int, Metrics]]:
        """As from two workers: every second answer comes before the one ahead of it."""
        order = sorted(range(len(archs)), key=lambda i: i ^ 1)
        return ((i, self.one(archs[i])) for i in order)

    def one(self, arch: Arch) -> Metrics:
        if len(self.seen) >= self.lives:
            raise Killed
        key = network_id(arch)
        self.seen.append(key)
        counts = cost(arch)
        metrics = Metrics(key, "complete", counts.macs / 1e7, counts.macs, counts.params, 1, "")
        over = self.limits.over(metrics.latency_ms, counts)
        if any(v > 0 for v in over.values()):
            return replace(metrics, state="infeasible", over=over)
        luck = random.Random(key).random()
        if luck < 0.1:
            return replace(metrics, state="failed", reason="unlucky")
        accuracy = 0.5 + luck / 10 + counts.macs / 1e8
        return replace(metrics, accuracy=accuracy, score=accuracy, over=over)


def study(folder, space=SPACE, sampler="nsga2", seed=0):
    return Study(space, name="run", storage=storage_at(folder, None), sampler=SAMPLERS[sampler],
                 seed=seed, worst=0.1)  # fmt: skip


def run(study, fake, trials=30, batch=4):
    return study.run(fake, trials=trials, batch=batch, told=lambda: None)


def told(study):
    """What a study ended up knowing, apart from times."""
    return [(r["number"], r["id"], r["state"], r["accuracy"]) for r in study.rows()]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_network_is_evaluated_twice(tmp_path, sampler):
    fake, s = Fake(), study(tmp_path, sampler=sampler)
    run(s, fake)
    assert len(fake.seen) == len(set(fake.seen)) == s.judged == 30


def test_a_small_space_is_searched_whole_and_then_it_stops(tmp_path):
    space = Arch((Stage(16, one_of(1, 2), 2, (Block(kernel=one_of(3, 5)),) * 2),), Stem(8),
                 resolution=16)  # fmt: skip
    fake, s = Fake(), study(tmp_path, space)
    why = run(s, fake, trials=50)
    assert len(set(fake.seen)) == len(fake.seen) == 2 + 4
    assert why == "every network that could be found in the space was tried"
    assert any(row["state"] == "duplicate" for row in s.rows())


def test_published_members_come_first(tmp_path):
    s, fake = study(tmp_path), Fake()
    inside = members(SPACE, 0.35)
    assert "mobilenet_v2_0.35" in inside
    s.enqueue(inside.items())
    s.enqueue(inside.items())
    run(s, fake, trials=len(inside) + 2)
    assert [r["name"] for r in s.rows()][: len(inside)] == list(inside)
    assert network_id(fill(SPACE, inside[next(iter(inside))])) in fake.seen[:2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_seed_one_search_and_another_seed_another(tmp_path, sampler):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        s = study(tmp_path / name, sampler=sampler, seed=seed)
        run(s, Fake())
        found.append(told(s))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("lives", [1, 3, 10, 17])
def test_killed_anywhere_it_goes_on_to_the_same_end(tmp_path, lives):
    (tmp_path / "whole").mkdir()
    whole = study(tmp_path / "whole")
    whole.enqueue(members(SPACE, 0.35).items())
    run(whole, Fake())

    (tmp_path / "killed").mkdir()
    seen: list[str] = []
    while len(seen) < len(whole.known):
        s, fake = study(tmp_path / "killed"), Fake(lives=lives)
        s.enqueue(members(SPACE, 0.35).items())
        with suppress(Killed):
            run(s, fake)
        assert fake.seen  # every life brings it further
        seen += fake.seen
    assert len(seen) == len(set(seen))  # nothing that was told is evaluated again
    assert told(study(tmp_path / "killed")) == told(whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("sets", [1, 40, 200, 333])
def test_killed_while_asking_nothing_is_lost(tmp_path, monkeypatch, sampler, sets):
    s = study(tmp_path, sampler=sampler)
    s.enqueue(members(SPACE, 0.35).items())
    suggest, left = Trial._suggest, iter(range(sets))

    def dying(self, *words):
        if next(left, None) is None:
            raise Killed
        return suggest(self, *words)

    monkeypatch.setattr(Trial, "_suggest", dying)
    with suppress(Killed):
        run(s, Fake(), trials=14)
    monkeypatch.undo()
    again = study(tmp_path, sampler=sampler)
    run(again, Fake(), trials=14)
    names = [row["name"] for row in again.rows() if row["name"]]
    assert names == list(members(SPACE, 0.35))
    assert again.judged == 14


class Pressed:
    """Presses Ctrl-C before line number `line` that runs in Optuna's storage or our study."""

    def __init__(self, line: int) -> None:
        self.left = line

    def __call__(self, frame, event, arg):
        name = frame.f_code.co_filename
        return self.step if "storages" in name or name == study_module.__file__ else None

    def step(self, frame, event, arg):
        if event == "line":
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
        return self.step


@pytest.mark.parametrize("line", [1, *range(97, 25_000, 2_767)])
def test_ctrl_c_anywhere_leaves_a_study_that_can_be_reported_and_goes_on(tmp_path, line):
    began, pressed, tracer = study(tmp_path), Pressed(line), sys.gettrace()
    sys.settrace(pressed)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(began, Fake(), trials=8)
    finally:
        sys.settrace(tracer)
    assert not (tmp_path / "journal.log.lock").is_symlink()  # it would be waited for
    assert len(began.rows()) <= 8
    began.add_seconds(1.0)
    again, fake = study(tmp_path), Fake()
    run(again, fake, trials=8)
    assert again.judged == 8
    assert not set(fake.seen) & set(began.known)


def test_a_line_that_was_not_written_whole_is_cut_off(tmp_path):
    run(study(tmp_path), Fake(), trials=5)
    journal = tmp_path / "journal.log"
    journal.write_bytes(journal.read_bytes()[:-20])
    s = study(tmp_path)
    run(s, Fake(), trials=8)
    assert study(tmp_path).judged == s.judged == 8
    journal.write_text("nonsense\n")
    with pytest.raises(UserError, match="journal is damaged"):
        study(tmp_path)


def test_a_lock_that_a_killed_process_left_does_not_stop_the_next(tmp_path):
    run(study(tmp_path), Fake(), trials=4)
    (tmp_path / "journal.log.lock").symlink_to(tmp_path / "journal.log")
    s = study(tmp_path)
    run(s, Fake(), trials=6)
    assert s.judged == 6


def test_one_process_at_a_time(tmp_path):
    refused = pytest.raises(UserError, match="another process is at work")
    with lock_folder(tmp_path), refused, lock_folder(tmp_path):
        pytest.fail("two processes own one run")
    with lock_folder(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_networks_over_a_limit_are_told_as_infeasible(tmp_path):
    fake, s = Fake(Limits(macs=4e6)), study(tmp_path)
    run(s, fake, trials=10)
    rows = s.rows()
    over = [r for r in rows if r["state"] == "infeasible"]
    assert over
    assert all(r["macs"] > 4e6 and np.isnan(r["accuracy"] or np.nan) for r in over)
    trials = s.optuna.get_trials()
    bad = {r["number"] for r in over}
    assert all((max(t.constraints.values()) > 0) == (t.number in bad)
               for t in trials if t.constraints)  # fmt: skip
    assert all(r["macs"] <= 4e6 for r in rows if r["state"] == "complete")


def test_failures_keep_their_reason_and_the_search_goes_on(tmp_path):
    fake, s = Fake(), study(tmp_path, sampler="random")
    run(s, fake, trials=40)
    failed = [r for r in s.rows() if r["state"] == "failed"]
    assert failed
    assert {r["reason"] for r in failed} == {"unlucky"}
    assert s.judged == 40


def test_a_storage_that_cannot_be_opened_is_one_line(tmp_path):
    with pytest.raises(UserError, match="storage=nonsense://x cannot be opened"):
        storage_at(tmp_path, "nonsense://x")


def test_any_optuna_storage_will_do(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    for _ in range(2):
        s = Study(SPACE, name="run", storage=storage_at(tmp_path, url),
                  sampler=SAMPLERS["random"], seed=0, worst=0.1)  # fmt: skip
        run(s, Fake(), trials=5)
        s.optuna._storage.remove_session()
        s.optuna._storage._backend.engine.dispose()
    assert s.judged == 5


class Timer:
    name = "fake"

    def measure_many(self, archs):
        if any(cost(arch).macs < 1.5e6 for arch in archs):
            raise RuntimeError("no such\nkernel")
        return [SimpleNamespace(median_ms=cost(a).macs / 1e6, iqr_ms=0.0, noisy=False)
                for a in archs]  # fmt: skip


def test_the_evaluator_trains_only_what_the_limits_allow():
    rng = random.Random(1)
    archs = [fill(SPACE, {k: rng.choice(v) for k, v in choices(SPACE).items()}) for _ in range(30)]
    trained: list[Arch] = []

    def judges(allowed):
        trained.extend(allowed)
        return ((i, Failure("ValueError: nan")) for i in range(len(allowed)))

    limit = float(np.median([cost(a).params for a in archs]))
    answers = dict(Evaluator(Timer(), judges, Limits(params=limit))(archs))
    found = [answers[i] for i in range(len(archs))]
    states = [m.state for m in found]
    assert set(states) == {"failed", "infeasible"}
    assert len(trained) == sum(m.reason == "ValueError: nan" for m in found) > 0
    assert all(cost(a).params <= limit for a in trained)
    assert all("params" in m.reason for m in found if m.state == "infeasible")
    unmeasured = [m for m in found if np.isnan(m.latency_ms)]
    assert all(m.reason == "not measured: RuntimeError: no such kernel" for m in unmeasured)


def test_metrics_survive_json():
    metrics = Metrics("a", "failed", 1.5, 10, 5, 2, "x", reason="nan", over={"macs": 0.5})
    again = Metrics.from_json(metrics.to_json())
    assert np.isnan(again.accuracy)
    assert replace(again, **dict.fromkeys(METRIC_NANS, 0.0)) == replace(
        metrics, **dict.fromkeys(METRIC_NANS, 0.0)
    )


METRIC_NANS = ("score", "score_se", "accuracy", "accuracy_se", "cross_entropy", "test_accuracy",
               "test_accuracy_se")  # fmt: skip


def test_members_are_found_again():
    for name, picks in members(SPACE, 0.35).items():
        assert picks_of(SPACE, fill(SPACE, picks)) == picks, name
