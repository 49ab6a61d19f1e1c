"""Ctrl-C: what it would leave half done is done first, in Optuna's storage and elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext

import optuna
import pytest
from optuna.storages.journal import _file

from nas.core.interrupts import block_sigint, defer_sigint
from nas.core.run_folder import without_password
from nas.search.storage import open_storage


def press(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


@contextmanager
def pressed_while_unlocking():
    """Ctrl-C comes right after the journal's lock is removed, where Optuna removes it again."""
    unlink = os.unlink

    def unlink_and_press(path, *more, **named):
        unlink(path, *more, **named)
        if ".lock" in str(path):
            press()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_file.os, "unlink", unlink_and_press)
        yield


def test_ctrl_c_in_the_journal_is_ctrl_c_and_loses_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), pressed_while_unlocking():
        open_storage(tmp_path, None, "s")
    store = open_storage(tmp_path, None, "s")
    with pytest.raises(KeyboardInterrupt), pressed_while_unlocking():
        store.set_note("kept", 1)
    assert store.note("kept", int) == 1
    trials = [optuna.trial.create_trial(values=[0.5, 1.0]) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt), pressed_while_unlocking():
        store.add(trials)
    assert len(store.trials()) == 2
    assert not (tmp_path / "journal.log.lock").is_symlink()
    again = open_storage(tmp_path, None, "s")
    assert len(again.trials()) == 2
    again.add(trials)
    assert len(open_storage(tmp_path, None, "s").trials()) == len(again.trials()) == 4


def test_it_holds_back_here_and_in_no_other_thread():
    before = signal.getsignal(signal.SIGINT)
    reached = []

    @defer_sigint()
    def inner() -> None:
        press()
        reached.append("inner")

    @defer_sigint()
    def outer() -> None:
        inner()
        reached.append("outer")

    with pytest.raises(KeyboardInterrupt):
        outer()
    assert reached == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ZeroDivisionError), defer_sigint():
        _ = 1 / 0

    def elsewhere() -> None:
        with defer_sigint():
            reached.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert reached[-1] is before


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
def test_a_process_begun_unheard_does_not_hear_ctrl_c():
    code = "import signal as s; print(s.SIGINT in s.pthread_sigmask(s.SIG_BLOCK, []))"
    command = [sys.executable, "-c", code]
    heard = []
    for context in (block_sigint, nullcontext):
        with context():
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        heard.append(done.stdout.strip())
    assert heard == ["True", "False"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://me:secret@host/db", "mysql://me:***@host/db"),
        ("postgresql+psycopg2://me:a:b@host:5432/db", "postgresql+psycopg2://me:***@host:5432/db"),
        ("sqlite:///a@b/c.db", "sqlite:///a@b/c.db"),
        ("redis://:secret@host", "redis://:***@host"),
        ("postgresql+psycopg://me:pa/ss@host/db", "postgresql+psycopg://me:***@host/db"),
        ("mysql://me@host/db?password=secret&x=1", "mysql://me@host/db?password=***&x=1"),
        ("grpc://host:13000 storage=a://b@c", "grpc://host:13000 storage=a://b@c"),
    ],
)
def test_no_password_is_printed(url, shown):
    assert without_password(url) == shown


def test_a_dashboard_finds_names_and_a_note_that_a_person_may_change(tmp_path):
    store = open_storage(tmp_path, None, "s")
    store.describe("# what it is")
    storage, study_id = store.study._storage, store.study._study_id
    assert storage.get_study_system_attrs(study_id) == {
        "study:metric_names": ["score", "latency_ms"],  # what Study.metric_names reads
        "dashboard:note_ver": 1,
        "dashboard:note_str:0": "# what it is",
    }
    storage.set_study_system_attr(study_id, "dashboard:note_str:0", "edited")
    storage.set_study_system_attr(study_id, "dashboard:note_ver", 2)
    again = open_storage(tmp_path, None, "s")
    size = (tmp_path / "journal.log").stat().st_size
    again.describe("# what it is")
    kept = again.study._storage.get_study_system_attrs(again.study._study_id)
    assert (kept["dashboard:note_str:0"], kept["dashboard:note_ver"]) == ("edited", 2)
    assert (tmp_path / "journal.log").stat().st_size == size, "nothing is written twice"
    assert again.study.metric_names == ["score", "latency_ms"]
