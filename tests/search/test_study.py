"""The ask and tell loop: what it proposes, what it never does twice, and how it goes on."""

from __future__ import annotations

import copy
import math
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from spaces import SPACES

import nas.search.study as study_module
from nas.accuracy.estimate import Failure
from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.run_folder import lock_folder
from nas.search.evaluations import Evaluations, Role
from nas.search.evaluator import Evaluator
from nas.search.metrics import Metrics
from nas.search.storage import TrialStore, open_storage
from nas.search.study import SearchStudy
from nas.space.choices import choices, fill, one_of, picks_of, random_picks
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


def study(folder, space=SPACE, sampler="nsga2", seed=0, url=None):
    store = open_storage(folder, url, "run")
    return SearchStudy(space, store, SAMPLERS[sampler], seed=seed, infeasible_score=0.1)


def run(study, fake, trials=30, batch=4, folder=None):
    """Run a study; with a folder, what is evaluated is written down at once."""
    evaluate = fake
    if folder is not None:
        written = Evaluations(folder / "evaluations.jsonl")
        evaluate = partial(written.evaluate, Role.TRIAL, evaluate=fake)
    return study.run(evaluate, trials=trials, batch=batch, on_result=lambda metrics: None)


def told(study):
    """What a study ended up knowing, apart from times."""
    return [(r["number"], r["id"], r["state"], r["accuracy"]) for r in study.rows()]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_network_is_evaluated_twice(tmp_path, sampler):
    fake, s = Fake(), study(tmp_path, sampler=sampler)
    run(s, fake)
    assert len(fake.seen) == len(set(fake.seen)) == s.num_evaluated == 30


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


def test_stored_trials_have_their_metrics_as_columns_that_can_be_sorted(tmp_path):
    s = study(tmp_path)
    run(s, Fake(), trials=8)
    rows = {row["number"]: row for row in s.rows()}
    for trial in open_storage(tmp_path, None, "run").trials():
        row = rows[trial.number]
        known = [name for name in study_module.COLUMNS if row[name] is not None]
        assert {"latency_ms", "macs", "params"} <= set(known)
        assert {name: trial.user_attrs[name] for name in known} == {n: row[n] for n in known}
        assert not {*study_module.COLUMNS} - {*known} & trial.user_attrs.keys()


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
            run(s, fake, folder=tmp_path / "killed")
        assert fake.seen  # every life brings it further
        seen += fake.seen
    assert len(seen) == len(set(seen))  # nothing that was told is evaluated again
    assert told(study(tmp_path / "killed")) == told(whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("writes", [0, 1, 6, 13])
def test_killed_while_a_batch_is_written_it_goes_on_to_the_same_end(
    tmp_path, monkeypatch, sampler, writes
):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = study(tmp_path / "whole", sampler=sampler)
    whole.enqueue(members(SPACE, 0.35).items())
    run(whole, Fake(), trials=14)

    add, left = TrialStore.add, iter(range(writes))

    def dying(self, trials):
        for trial in trials:  # as storages write them that know no batches
            if next(left, None) is None:
                raise Killed
            add(self, [trial])

    s = study(tmp_path / "killed", sampler=sampler)
    s.enqueue(members(SPACE, 0.35).items())
    monkeypatch.setattr(TrialStore, "add", dying)
    with pytest.raises(Killed):
        run(s, Fake(), trials=14)
    monkeypatch.undo()
    again, fake = study(tmp_path / "killed", sampler=sampler), Fake()
    again.enqueue(members(SPACE, 0.35).items())
    run(again, fake, trials=14)
    assert told(again) == told(study(tmp_path / "killed", sampler=sampler)) == told(whole)
    assert len(fake.seen) <= 14 - writes  # what was written is not evaluated again


def test_a_batch_costs_one_write_and_no_copy_of_the_others(tmp_path, monkeypatch):
    """What a trial costs beside its evaluation does not grow with the trials before it."""
    calls: Counter[str] = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def counted(*words):
            calls[name] += 1
            return original(*words)

        monkeypatch.setattr(owner, name, counted)

    count(JournalFileBackend, "append_logs")
    count(copy, "deepcopy")
    s = study(tmp_path, sampler="random")
    spent = []
    for trials in (40, 80, 120):
        before, asked = calls.copy(), s.num_trials
        run(s, Fake(), trials=trials, batch=8)
        spent.append((calls - before, s.num_trials - asked))
    assert [used["append_logs"] for used, _ in spent] == [5, 5, 5]  # batches of 8
    assert [used["deepcopy"] / asked for used, asked in spent] == [spent[0][0]["deepcopy"] / 40] * 3


class Pressed:
    """Presses Ctrl-C before line number `line` that runs in Optuna's storage or our study."""

    def __init__(self, line: float) -> None:
        self.line, self.count = line, 0

    def __call__(self, frame, event, arg):
        name = frame.f_code.co_filename
        return self.step if "storages" in name or name == study_module.__file__ else None

    def step(self, frame, event, arg):
        if event == "line":
            self.count += 1
            if self.count == self.line:
                signal.raise_signal(signal.SIGINT)
        return self.step


@pytest.mark.parametrize("share", [0.0, *(i / 10 + 0.03 for i in range(10))])
def test_ctrl_c_anywhere_leaves_a_study_that_can_be_reported_and_goes_on(tmp_path, share):
    """Anywhere: before the line that is so far in a run whose lines are counted first."""
    counted = traced(tmp_path / "counted", math.inf)
    with pytest.raises(KeyboardInterrupt):
        traced(tmp_path / "pressed", 1 + int(share * counted))
    folder = tmp_path / "pressed"
    assert not (folder / "journal.log.lock").is_symlink()  # it would be waited for
    known = {row["id"] for row in Evaluations(folder / "evaluations.jsonl").rows(Role.TRIAL)}
    again, fake = study(folder), Fake()
    assert len(again.rows()) <= 8
    run(again, fake, trials=8, folder=folder)
    assert again.num_evaluated == 8
    assert not set(fake.seen) & known


def traced(folder, line):
    """Run a study, with Ctrl-C before that line; how many lines ran."""
    folder.mkdir()
    pressed, tracer = Pressed(line), sys.gettrace()
    began = study(folder)
    sys.settrace(pressed)
    try:
        run(began, Fake(), trials=8, folder=folder)
    finally:
        sys.settrace(tracer)
    return pressed.count


def test_a_line_that_was_not_written_whole_is_cut_off(tmp_path):
    run(study(tmp_path), Fake(), trials=5)
    journal = tmp_path / "journal.log"
    journal.write_bytes(journal.read_bytes()[:-20])
    s = study(tmp_path)
    run(s, Fake(), trials=8)
    assert study(tmp_path).num_evaluated == s.num_evaluated == 8
    journal.write_text("nonsense\n")
    with pytest.raises(UserError, match="journal is damaged"):
        study(tmp_path)


def test_a_lock_that_a_killed_process_left_does_not_stop_the_next(tmp_path):
    run(study(tmp_path), Fake(), trials=4)
    (tmp_path / "journal.log.lock").symlink_to(tmp_path / "journal.log")
    s = study(tmp_path)
    run(s, Fake(), trials=6)
    assert s.num_evaluated == 6


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
    assert s.num_evaluated == 40


def test_a_storage_that_cannot_be_opened_is_one_line(tmp_path):
    with pytest.raises(UserError, match="unknown kind of storage 'nonsense'"):
        open_storage(tmp_path, "nonsense://x", "run")


def test_any_optuna_storage_will_do(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    for _ in range(2):
        s = study(tmp_path, sampler="random", url=url)
        run(s, Fake(), trials=5)
        s.store.study._storage.remove_session()
        s.store.study._storage._backend.engine.dispose()
    assert s.num_evaluated == 5


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

    class Judge:
        def estimate(self, allowed, thresholds=()):
            trained.extend(allowed)
            return ((i, Failure("ValueError: nan")) for i in range(len(allowed)))

    limit = float(np.median([cost(a).params for a in archs]))
    answers = dict(Evaluator(Timer(), Judge(), Limits(params=limit))(archs))
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
               "test_accuracy_se", "float_accuracy")  # fmt: skip


def test_members_are_found_again():
    for name, picks in members(SPACE, 0.35).items():
        assert picks_of(SPACE, fill(SPACE, picks)) == picks, name


def test_a_training_that_failed_is_tried_again_and_no_scoring(tmp_path):
    archs = [fill(SPACE, random_picks(SPACE, random.Random(seed))) for seed in range(60)]
    written = Evaluations(tmp_path / "evaluations.jsonl")
    for role in (Role.LABEL, Role.CHOICE):
        list(written.evaluate(role, archs, Fake()))
    failed = [row["id"] for row in written.rows(Role.LABEL) if row["state"] == "failed"]
    assert failed
    again = Evaluations(tmp_path / "evaluations.jsonl")
    assert [network_id(arch) for arch in again.missing(Role.LABEL, archs)] == failed
    assert not again.missing(Role.CHOICE, archs)
    list(again.evaluate(Role.LABEL, archs, fake := Fake()))
    assert sorted(fake.seen) == sorted(failed)


def test_a_network_that_is_being_judged_is_no_trial_yet(tmp_path):
    """As Ctrl-C leaves it: whoever else knows the network is asked."""
    own, seen = study(tmp_path), []

    def interrupted(archs):
        seen.extend(archs)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.run(interrupted, trials=4, batch=2, on_result=lambda metrics: None)
    keys = [network_id(arch) for arch in seen]
    for key in keys:
        own.known[key] = Fake().one(seen[keys.index(key)])
    assert [own.arch_of(key) for key in keys] == [None, None]
