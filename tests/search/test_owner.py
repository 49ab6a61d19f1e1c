"""One process at a time on one study, whatever the storage; a dead one is no hindrance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages.journal import JournalFileBackend
from test_adoption import settings_of

from nas.core.errors import UserError
from nas.search import owner
from nas.search.database import close_database
from nas.search.owner import KEY, SEEN, owned
from nas.search.run import search
from nas.search.storage import DIRECTIONS, TrialStore

WORK = """
import os, sys, time
from pathlib import Path
from nas.core.errors import UserError
from nas.search import owner
from nas.search.owner import owned
from nas.search.storage import open_storage
owner.SETTLE_S = 5  # of a machine that does other things too
url, folder = sys.argv[1:]
store = open_storage(Path(folder), url, "study")
Path(folder, str(os.getpid())).touch()
while len(list(Path(folder).iterdir())) < int(Path(folder).name):
    time.sleep(0.001)  # until all are here
try:
    with owned(store, "it"):
        print("owner", flush=True)
        sys.stdin.read()
except UserError as error:
    print(error, flush=True)
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(owner, "SETTLE_S", 0)


@pytest.fixture(params=["sqlite", "journal", "postgres"])
def opened(request, tmp_path):
    """What opens one study again and again, as several processes do."""
    url, name, stores = f"sqlite:///{tmp_path}/study.db", tmp_path.name, []
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").url

    def opened():
        file = JournalFileBackend(f"{tmp_path}/journal.log")
        storage = optuna.storages.JournalStorage(file) if request.param == "journal" else url
        study = optuna.create_study(
            storage=storage, study_name=name, directions=DIRECTIONS, load_if_exists=True
        )
        stores.append(TrialStore(study))
        return stores[-1]

    yield opened
    for store in stores:
        close_database(store.study._storage)


@contextmanager
def working(folder, number=1):
    """Processes that begin together on the study of `folder`; each answers when it knows."""
    (together := folder / str(number)).mkdir()
    command = [sys.executable, "-c", WORK, f"sqlite:///{folder}/study.db", str(together)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    all_of_them = [subprocess.Popen(command, **pipes) for _ in range(number)]
    try:
        yield all_of_them
    finally:
        for process in all_of_them:
            process.kill()
            process.communicate()


def test_a_second_one_is_refused_until_the_first_ends(opened):
    first, second = opened(), opened()
    with owned(first, "the study"):
        line = rf"process {os.getpid()} on .* at work on the study since 20\S+ .*another run="
        with pytest.raises(UserError, match=line) as error, owned(second, "the study"):
            pytest.fail("two own it")
        assert "\n" not in str(error.value)
        first.set_note("kept", 1)  # the refusal took nothing from the owner
    with pytest.raises(KeyboardInterrupt), owned(second, "the study"):
        raise KeyboardInterrupt
    with owned(opened(), "the study"):
        assert second.note("kept", int) == 1


def test_an_owner_gives_signs_of_life_and_stops_where_it_was_taken_over(opened, monkeypatch):
    monkeypatch.setattr(owner, "REFRESH_S", 0.01)
    first, second = opened(), opened()
    with owned(first, "the study"):
        claimed = first.study.user_attrs[KEY]["seen"]
        deadline = time.monotonic() + 20
        while SEEN not in second.study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.01)
        assert owner._latest(second.notes())["seen"] > claimed
        monkeypatch.setattr(owner, "DEAD_S", -1)  # as after a long sleep
        with owned(second, "the study"):
            trials = [optuna.trial.create_trial(values=[0.5, 1.0])]
            for write in (
                lambda: first.add(trials),
                lambda: first.set_note("kept", 1),
                lambda: first.keep("kept", 1),
            ):
                with pytest.raises(UserError, match="another process took over the study"):
                    write()
    assert "kept" not in second.study.user_attrs | second.kept()
    assert not second.trials()
    assert second.study.user_attrs[KEY] is None


def test_a_sign_of_life_that_comes_late_takes_nothing_back(opened, monkeypatch):
    first, second = opened(), opened()
    slow, late = owner._Owner(first, "the study"), owner._Owner(second, "the study")
    slow.claim()
    holds, ended = slow.holds, threading.Event()

    def held_before(notes=None):  # between the question and the write, another takes over
        held = holds(notes)
        monkeypatch.setattr(owner, "DEAD_S", -1)
        late.claim()
        ended.set()
        return held

    monkeypatch.setattr(owner, "REFRESH_S", 0)
    monkeypatch.setattr(slow, "holds", held_before)
    slow.refresh(ended)
    assert late.holds()
    assert not holds()
    assert owner._latest(second.notes()) == late.stamp  # the sign of life counts for none


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.floats(-1000, 1000), st.booleans(), st.booleans())
def test_who_counts_as_alive(age, here, runs):
    with subprocess.Popen(["true"]) as ended:
        pass
    stamp = owner._stamp() | {"seen": time.time() - age, "pid": os.getpid() if runs else ended.pid}
    stamp |= {} if here else {"machine": "elsewhere"}
    if abs(abs(age) - owner.DEAD_S) > 10:  # a clock is read twice
        assert owner._lives(stamp) == (abs(age) < owner.DEAD_S and (runs or not here))


def test_a_killed_owner_is_taken_over_at_once(tmp_path):
    with working(tmp_path) as (process,):
        assert process.stdout.readline() == "owner\n"
        url = f"storage=sqlite:///{tmp_path}/study.db"
        line = rf"process {process.pid} on .*'study' in {re.escape(url)} since"
        with pytest.raises(UserError, match=line):
            search(settings_of(tmp_path, url))
        process.kill()
        process.wait()
        summary = search(settings_of(tmp_path, url))
        assert summary["evaluated"] == 4


def test_of_two_that_begin_together_one_works(tmp_path):
    optuna.create_study(  # making the tables at once is another matter
        storage=f"sqlite:///{tmp_path}/study.db", study_name="study", directions=DIRECTIONS
    )
    with working(tmp_path, 3) as processes:
        said = [process.stdout.readline() for process in processes]
    assert said.count("owner\n") == 1
    assert sum("at work on it since" in line for line in said) == 2
