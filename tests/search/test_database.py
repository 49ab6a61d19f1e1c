"""A study in PostgreSQL: what it keeps, and what a search does while the server is away."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import optuna
import psycopg
import pytest
from test_adoption import TINY
from test_study import SPACE, Fake

from nas.core.errors import UserError
from nas.search import database
from nas.search.database import close_database, open_database
from nas.search.evaluations import Evaluations, Role
from nas.search.run import search
from nas.search.settings import SearchSettings
from nas.search.storage import open_storage
from nas.space.choices import fill, random_picks

TRAINED = [
    word for word in TINY if not word.startswith(("accuracy", "trials", "latency", "target"))
] + ["accuracy=scratch", "trials=6", "target=1", "limit.latency_ms=inf", "table=short",
     "table.blocks=28", "table.calibrate=4", "table.validate=4", "table.repeat=0",
     "latency.min_rounds=6", "latency.max_seconds=0.05"]  # fmt: skip
TIMED = ("seconds", "measured_ms")
TRIALS = [optuna.trial.create_trial(values=[i, 1.0], user_attrs={"number": i}) for i in range(5)]


@pytest.fixture
def opened(postgres, tmp_path, monkeypatch):
    """What opens a study of this test in the server, and closes it."""
    monkeypatch.setattr(database, "RETRY_S", 0.1)
    stores = []

    def opened():
        stores.append(open_storage(tmp_path, postgres.url, tmp_path.name))
        stores[-1].said = []
        stores[-1].say = stores[-1].said.append
        return stores[-1]

    yield opened
    for store in stores:
        close_database(store.study._storage)


@contextmanager
def away(postgres, back):
    """The server stops, and is there again when the event `back` is set, or at the end."""

    def start():
        back.wait(300)
        postgres.start()

    postgres.stop()
    again = threading.Thread(target=start, daemon=True)
    again.start()
    try:
        yield
    finally:
        back.set()
        again.join()


def missed(monkeypatch):
    """An event that is set when the server was missed twice: the first time is not said."""
    event, times, reason_of = threading.Event(), itertools.count(1), database.reason_of

    def count(error):
        if next(times) == 2:
            event.set()
        return reason_of(error)

    monkeypatch.setattr(database, "reason_of", count)
    return event


def numbers(store):
    return [trial.user_attrs["number"] for trial in store.trials()]


def test_a_server_that_comes_back_is_waited_for(postgres, opened, monkeypatch):
    store = opened()
    store.add(TRIALS[:2])
    with away(postgres, missed(monkeypatch)):
        store.add(TRIALS[2:])
    assert numbers(store) == numbers(opened()) == [0, 1, 2, 3, 4]
    first, last = store.said
    assert first.startswith("storage   away (")
    assert "\n" not in first
    assert last.startswith("storage   back after")
    with away(postgres, threading.Event()):
        pass
    store.set_note("kept", 1)
    assert store.said == [first, last], "one that is back already is not worth a word"
    assert opened().note("kept", int) == 1


def test_one_that_does_not_is_said_in_a_line(postgres, opened, monkeypatch):
    store = opened()
    monkeypatch.setattr(database, "PATIENCE_S", 0.5)
    with away(postgres, threading.Event()):
        with pytest.raises(UserError, match=r"away for 0 s now \(.*the same command goes on"):
            store.add(TRIALS)
        with pytest.raises(UserError, match=r"postgres:.*cannot be opened"):
            opened()
    assert numbers(opened()) == []


@pytest.mark.parametrize("lost", range(1, 8))
def test_what_was_written_but_not_answered_is_not_written_again(opened, monkeypatch, lost):
    """The server does every commit; the connection breaks before it says so of one."""
    store, number = opened(), itertools.count(1)

    def commit(connection):
        connection.commit()
        if next(number) == lost:
            connection.dbapi_connection.close()
            raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(store.study._storage._backend.engine.dialect, "do_commit", commit)
    store.add(TRIALS)
    assert next(number) > lost
    assert numbers(store) == numbers(opened()) == [0, 1, 2, 3, 4]


def test_ctrl_c_ends_the_waiting(postgres, opened):
    store = opened()
    store.say = lambda line: signal.raise_signal(signal.SIGINT)
    with away(postgres, threading.Event()), pytest.raises(KeyboardInterrupt):
        store.add(TRIALS)
    assert numbers(opened()) == []


def test_what_the_database_refuses_is_said_in_a_line(opened):
    with pytest.raises(
        UserError, match=r"storage= cannot be used \(.*too long.*mend that"
    ) as error:
        opened().set_note(1000 * "long", 1)
    assert "\n" not in str(error.value)


def test_evaluations_are_in_every_folder_of_a_study(opened, tmp_path):
    archs = [fill(SPACE, random_picks(SPACE, random.Random(seed))) for seed in range(3)]
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    list(Evaluations(here).evaluate(Role.LABEL, archs[:1], Fake()))  # of an earlier version
    list(Evaluations(here, opened()).evaluate(Role.LABEL, archs[:2], Fake()))
    elsewhere, fake = Evaluations(there, opened()), Fake()
    list(elsewhere.evaluate(Role.LABEL, archs, fake, {}))
    assert len(fake.seen) == 1
    again = Evaluations(here, opened())
    assert again.missing(Role.LABEL, archs) == []
    known = [{row["id"]: row for row in e.rows(Role.LABEL)} for e in (again, elsewhere)]
    assert known[0] == known[1]
    size = here.stat().st_size
    Evaluations(here, opened())
    assert here.stat().st_size == size, "nothing is written twice"


def trials(folder, run):
    """Rows of trials.csv without what time decides."""
    with (folder / "results" / "search" / run / "trials.csv").open() as file:
        return [{k: row[k] for k in row if k not in TIMED} for row in csv.DictReader(file)]


def settings_of(folder, *words):
    return SearchSettings.of(*words, f"results={folder}/results")


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_killed_search_goes_on_from_another_folder(postgres, tmp_path, monkeypatch, capsys):
    """Nothing is lost but what was in flight, and the latency table stays the same."""
    first, second = tmp_path / "first", tmp_path / "second"
    search(settings_of(first, *TRAINED, "run=undisturbed"))
    words = [*TRAINED, "run=killed", f"storage={postgres.url}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nas.search", *words, f"results={first}/results"],
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    journal, end = first / "results/search/killed/evaluations.jsonl", time.monotonic() + 300
    while len(rows_of(journal)) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = rows_of(journal)[:-1]  # the last one was perhaps not in the database yet
    assert len(done) >= 3
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    monkeypatch.setattr("nas.search.owner.DEAD_S", -1)
    capsys.readouterr()
    summary = search(settings_of(second, *words))
    assert "by the study's own table, which was measured on" in capsys.readouterr().out
    assert summary["evaluated"] == 6
    assert not (second / "results" / "latency").exists()
    assert trials(second, "killed") == trials(first, "undisturbed")
    seconds = {row["id"]: row["metrics"]["seconds"] for row in done}
    again = rows_of(second / "results/search/killed/evaluations.jsonl")
    assert seconds.items() <= {row["id"]: row["metrics"]["seconds"] for row in again}.items()


@pytest.mark.parametrize("patience", [0.5, 300])
def test_a_search_goes_on_after_the_server_was_away_and_is_read_meanwhile(
    postgres, tmp_path, monkeypatch, capsys, patience
):
    """At once, or by the same command where it took too long."""
    monkeypatch.setattr(database, "RETRY_S", 0.1)
    monkeypatch.setattr(database, "PATIENCE_S", patience)
    run = f"away_{patience}"
    words = [word for word in TINY if not word.startswith("trials")] + ["trials=60"]

    back = threading.Event() if patience < 2 else missed(monkeypatch)

    def disturb():
        while read(postgres.url, run) < 8:
            time.sleep(0.05)
        postgres.stop()
        back.wait(300)
        postgres.start()

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    settings = settings_of(tmp_path, *words, f"run={run}", f"storage={postgres.url}")
    if patience < 2:
        with pytest.raises(UserError, match="the same command goes on"):
            search(settings)
        back.set()
        thread.join()
        monkeypatch.setattr("nas.search.owner.DEAD_S", -1)  # as if its process had ended
        search(settings)
    else:
        search(settings)
        assert "storage   back after" in capsys.readouterr().out
    thread.join()
    search(settings_of(tmp_path, *words, "run=whole"))
    assert trials(tmp_path, run) == trials(tmp_path, "whole")
    assert read(postgres.url, run) == len(trials(tmp_path, "whole"))


def read(url, name):
    """The trials that a reader finds of a study, which may not be there yet."""
    storage = optuna.storages.RDBStorage(url)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "FAIL", "PRUNED"}
        return len(study.best_trials) and len(study.trials)
    except KeyError:
        return 0
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_no_password_is_kept(postgres, tmp_path, opened):
    search(settings_of(tmp_path, *TINY, f"run={tmp_path.name}", f"storage={postgres.url}"))
    folder = tmp_path / "results" / "search" / tmp_path.name
    assert "postgres:***@" in (folder / "config.yaml").read_text()
    kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(b"secret" in text for text in [*kept, str(opened().notes()).encode()])


def test_a_missing_package_is_named(monkeypatch):
    for name, url in (("psycopg", "postgresql+psycopg://here/x"), ("grpc", "grpc://here:1")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UserError, match=r"not installed: pip install 'mobile-nas\["):
            open_database(url)


def test_a_study_behind_the_proxy_of_optuna(opened, postgres, tmp_path, monkeypatch):
    pytest.importorskip("grpc", reason="needs gRPC: pip install 'mobile-nas[grpc]'")
    from optuna.storages._grpc.server import make_server

    own = optuna.storages.get_storage(postgres.url)
    server = make_server(own, "localhost", 0)
    port = server.add_insecure_port("localhost:0")
    server.start()
    url = f"storage=grpc://localhost:{port}"
    summary = search(settings_of(tmp_path, *TINY, f"run={tmp_path.name}", url))
    assert summary["evaluated"] == 4
    assert len(opened().trials()) == len(trials(tmp_path, tmp_path.name))
    server.stop(None).wait()
    monkeypatch.setattr(database, "PATIENCE_S", 0.3)
    with pytest.raises(UserError, match="cannot be opened: failed to connect to all addresses"):
        open_storage(tmp_path, url.removeprefix("storage="), "x")
    close_database(own)


def test_a_kind_of_storage_that_nobody_has_is_named():
    with pytest.raises(UserError, match=r"unknown kind of storage 'nonsense' \(allowed: grpc, "):
        open_database("nonsense://here/x")
