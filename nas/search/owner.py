"""One process at a time works on a study: its owner, which says again and again that it lives.

The lock of a run folder does the same for the folder, and its journal; a database can be opened
from several folders and machines.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.exceptions import OptunaError

from nas.core.errors import UserError
from nas.core.interrupts import defer_sigint
from nas.search.database import away_errors
from nas.search.storage import TrialStore

KEY = "search_owner"  # of the note that the owner keeps with the study; None where there is none
SEEN = "search_owner_seen"  # its last sign of life: a note apart, to undo no takeover
REFRESH_S = 30.0  # seconds between two signs of life
DEAD_S = 300.0  # seconds without one, after which an owner counts as dead
SETTLE_S = 1.0  # seconds in which processes that begin together see who wrote last,
SLOW, MAX_SETTLE_S = 3.0, 30.0  # or so often the time to read and write, up to so many seconds

Stamp = dict[str, Any]


@contextmanager
def owned(store: TrialStore, what: str) -> Iterator[None]:
    """Own the study for this process; UserError where another one does.

    `what` names the study in that line.  An owner that was taken over, since it was stopped for
    longer than DEAD_S, gets a UserError from its next note or trial on, and writes nothing more.
    """
    owner, ended = _Owner(store, what), threading.Event()
    thread = threading.Thread(target=owner.refresh, args=(ended,), daemon=True)
    try:
        owner.claim()
        store.guard = owner.guard
        thread.start()
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()
        with suppress(*_failures()), defer_sigint():  # else the stamp ends by itself
            if owner.holds():
                store.study.set_user_attr(KEY, None)


class _Owner:
    """This process, as it writes itself down with the study."""

    def __init__(self, store: TrialStore, what: str) -> None:
        self.store, self.what, self.stamp = store, what, _stamp()

    def holds(self, notes: Mapping[str, Any] | None = None) -> bool:
        """Whether this process owns the study, by its notes."""
        stamp = (self.store.study.user_attrs if notes is None else notes).get(KEY) or {}
        return bool(stamp.get("token") == self.stamp["token"])

    def claim(self) -> None:
        """Own the study; of several that begin together the last to write does."""
        began = time.monotonic()
        while not self.holds(notes := self.store.notes()):
            if _lives(stamp := _latest(notes)):
                raise UserError(
                    f"process {stamp['pid']} on {stamp['host']} has been at work on {self.what} "
                    f"since {stamp['since']}: wait for its end, or give another run=; one that "
                    f"died is taken over {DEAD_S:.0f} s after its last sign of life, which was "
                    f"{time.time() - stamp['seen']:.0f} s ago"
                )
            self.store.set_note(KEY, self.stamp)
            # where reading and writing is slow, so is that of the others
            took = SLOW * (time.monotonic() - began)
            time.sleep(min(max(SETTLE_S, took), MAX_SETTLE_S))
            began = time.monotonic()

    def guard(self) -> None:
        """Raise UserError where another process took the study over."""
        if not self.holds():
            raise UserError(
                f"another process took over {self.what}: this one gave no sign of life for "
                f"{DEAD_S:.0f} s, or both began at one moment; when that one has ended, give the "
                "command again"
            )

    def refresh(self, ended: threading.Event) -> None:
        """Give signs of life until the end."""
        while not ended.wait(REFRESH_S):
            try:
                if self.holds():
                    seen = {"token": self.stamp["token"], "seen": time.time()}
                    self.store.study.set_user_attr(SEEN, seen)
            except _failures():
                continue  # a database that is away for good stops the search at its next trial


def _failures() -> tuple[type[Exception], ...]:
    """What may be raised where the stamp cannot be read or written now."""
    return (OptunaError, OSError, KeyError, *away_errors())


def _stamp() -> Stamp:
    return {
        "token": uuid.uuid4().hex,
        "host": platform.node(),
        "machine": _machine(),
        "pid": os.getpid(),
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
        "seen": time.time(),
    }


def _machine() -> str:
    """What tells machines apart that have one name, and containers that count processes alone."""
    namespace = Path("/proc/self/ns/pid")
    counted = namespace.readlink() if namespace.is_symlink() else ""
    return f"{platform.node()} {uuid.getnode():x} {counted}"


def _latest(notes: Mapping[str, Any]) -> Stamp:
    """The owner's stamp with its last sign of life; empty where there is no owner."""
    stamp, seen = notes.get(KEY) or {}, notes.get(SEEN) or {}
    return stamp | seen if stamp.get("token") == seen.get("token") else stamp


def _lives(stamp: Stamp) -> bool:
    if not stamp or abs(time.time() - stamp["seen"]) > DEAD_S:  # abs, since a clock may be ahead
        return False
    if stamp["machine"] != _machine() or os.name != "posix":
        return True  # nobody here can know
    try:
        os.kill(stamp["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
