"""Where a study is kept: a journal in the run folder, or any database that Optuna takes.

The search works on a study in memory; finished trials are kept, written once, and a few notes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.core.errors import UserError
from nas.core.interrupts import defer_sigint
from nas.core.run_folder import without_password
from nas.search.database import away_errors, open_database, patient, reason_of
from nas.search.salvage import UNREADABLE, salvage

# What Optuna, SQLAlchemy or a driver that is not there raise for a database.
UNOPENED = (*UNREADABLE, OptunaError, SQLAlchemyError, ImportError, OSError, RuntimeError)
# of score and latency
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
# What Optuna's plots and optuna-dashboard call them: Study.set_metric_names keeps it so.
METRIC_NAMES = ("study:metric_names", ["score", "latency_ms"])
# Where optuna-dashboard (`_note.py`) keeps a study's note: its version, and pieces of its text.
NOTE_VERSION, NOTE_TEXT, NOTE_LENGTH = "dashboard:note_ver", "dashboard:note_str:0", 2045
KEPT = "search:"  # before the keys of what `keep` writes


class BatchedJournal(BaseJournalBackend):
    """Optuna's journal file; what is written within `batch` reaches the disk in one write."""

    def __init__(self, path: Path) -> None:
        self.file = JournalFileBackend(str(path))
        self.held: list[dict[str, Any]] | None = None
        self.num_written = 0  # entries of the file that were read

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries, or hold them until the batch ends."""
        if self.held is None:
            self.file.append_logs(logs)
        else:
            self.held += logs

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The entries from that number on, within a batch those that it holds."""
        if self.held is not None:
            yield from self.held[log_number_from - self.num_written :]
            return
        for log in self.file.read_logs(log_number_from):
            self.num_written = log_number_from = log_number_from + 1
            yield log

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold what is written within, and write it at the end."""
        self.held = []
        try:
            yield
        finally:
            logs, self.held = self.held, None
            if logs:
                self.file.append_logs(logs)
            list(self.read_logs(self.num_written))  # the next read begins behind them


class TrialStore:
    """The finished trials of one study in Optuna's storage, and notes about the run.

    Ctrl-C waits for the end of every write: within one, it would leave the journal's lock.
    `guard` is called before each, and raises where this process may not write any more; `say` is
    told when a database is away, and back; `salvaged` says what was lost where the journal was
    damaged.
    """

    def __init__(
        self, study: optuna.Study, journal: BatchedJournal | None = None, salvaged: str = ""
    ) -> None:
        self.study, self.journal, self.salvaged = study, journal, salvaged
        self.guard: Callable[[], None] = lambda: None
        self.say: Callable[[str], None] = lambda line: None

    @patient
    def trials(self) -> list[FrozenTrial]:
        """The finished trials in the order of their numbers."""
        return [t for t in self.study.get_trials(deepcopy=False) if t.state.is_finished()]

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Write finished trials, in a journal all of them at once."""
        self._write(trials, self._number())

    def _count(self) -> int:
        """How many trials there are; 0 of a journal, which needs not be asked."""
        return 0 if self.journal else len(self.study.get_trials(deepcopy=False))

    _number = patient(_count)

    @patient
    def _write(self, trials: Sequence[FrozenTrial], first: int) -> None:
        """Write trials from number `first` on, but for those that an earlier call has written."""
        with self.journal.batch() if self.journal else nullcontext():
            for trial in trials[self._count() - first :]:
                self.guard()
                self.study.add_trial(trial)

    @patient
    def notes(self) -> dict[str, Any]:
        """The plain values that are kept with the study."""
        return self.study.user_attrs

    def note(self, key: str, make: Callable[[], Any]) -> Any:
        """A plain value kept with the study: read back, or made and kept the first time."""
        if key not in (notes := self.notes()):
            self.set_note(key, make())
            notes = self.notes()
        return notes[key]

    @patient
    def set_note(self, key: str, value: Any) -> None:
        """Keep a plain value with the study, in the place of an earlier one."""
        self.guard()
        self.study.set_user_attr(key, value)

    @patient
    def keep(self, key: str, value: Any) -> None:
        """Keep a plain value that may be large: unlike notes, these are only read together."""
        self.guard()
        self.study._storage.set_study_system_attr(self.study._study_id, KEPT + key, value)

    @patient
    def kept(self) -> dict[str, Any]:
        """What `keep` was given, by key."""
        every = self.study._storage.get_study_system_attrs(self.study._study_id)
        return {key.removeprefix(KEPT): every[key] for key in every if key.startswith(KEPT)}

    @patient
    def describe(self, text: str) -> None:
        """Name the axes and say what the study is, for Optuna's plots and optuna-dashboard.

        What is there already stays: a person may have edited the note.
        """
        self.guard()
        storage, study_id = self.study._storage, self.study._study_id
        known = storage.get_study_system_attrs(study_id)
        note = [(NOTE_TEXT, text[:NOTE_LENGTH]), (NOTE_VERSION, 1)]
        for key, value in (METRIC_NAMES, *(note if NOTE_VERSION not in known else ())):
            if key not in known:
                storage.set_study_system_attr(study_id, key, value)

    @patient
    def end_unfinished(self) -> list[FrozenTrial]:
        """Fail the trials that a process of version 0.1 left running or waiting; what they were."""
        states = (TrialState.RUNNING, TrialState.WAITING)
        left = self.study.get_trials(deepcopy=False, states=states)
        for trial in left:
            if trial.state == TrialState.WAITING:
                self.study.ask()  # takes the waiting ones in their order
            self.study.tell(trial.number, state=TrialState.FAIL)
        return left


@defer_sigint()
def open_storage(folder: Path, url: str | None, name: str) -> TrialStore:
    """The study `name` in the journal of the run folder, or at any URL that Optuna takes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path, journal, salvaged = folder / "journal.log", None, ""
    try:
        if url is None:
            journal, storage, salvaged = open_journal(path, name)
        else:
            storage = open_database(url)
        study = optuna.create_study(
            study_name=name, storage=storage, directions=DIRECTIONS, load_if_exists=True
        )
    except UserError:
        raise
    except UNOPENED + away_errors() as error:
        where = f"storage={without_password(url)}" if url else f"the journal {path}"
        instead = "give it again when that is mended" if url else "choose another run="
        raise UserError(f"{where} cannot be opened: {reason_of(error)}; {instead}") from None
    return TrialStore(study, journal, salvaged)


def open_journal(path: Path, name: str) -> tuple[BatchedJournal, BaseStorage, str]:
    """A journal, the storage in it, and what was salvaged where lines of it were damaged.

    For the sole owner of the folder only: it clears what a killed process leaves, Optuna's lock
    and a last line not written whole, and a lock of a living process looks the same.
    """
    Path(f"{path}.lock").unlink(missing_ok=True)
    data = path.read_bytes() if path.exists() else b""
    whole, ended, cut = data.rpartition(b"\n")
    if cut:
        os.truncate(path, len(data) - len(cut))
    try:
        if ended:
            json.loads(whole.rpartition(b"\n")[2])  # Optuna reads over a damaged last line
        journal = BatchedJournal(path)
        return journal, JournalStorage(journal), ""
    except UNREADABLE:
        salvaged = salvage(path, name, DIRECTIONS)
    journal = BatchedJournal(path)
    return journal, JournalStorage(journal), salvaged
