"""Where a study is kept: a journal in the run folder, or any database that Optuna takes."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend

from nas.core.errors import UserError
from nas.core.interrupts import defer_sigint


def storage_at(folder: Path, url: str | None) -> Any:
    """Optuna storage: the journal in the run folder, or any URL that Optuna takes.

    Ctrl-C waits for the end of every call of it: within one, it would leave the journal's lock,
    or what the storage holds in memory, as it may never be.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if url is not None:
            return defer_sigint_in(optuna.storages.get_storage(url))
        journal = folder / "journal.log"
        repair_journal(journal)
        return defer_sigint_in(optuna.storages.JournalStorage(JournalFileBackend(str(journal))))
    except Exception as error:  # whatever the database driver or the journal's reader raises
        text = " ".join(str(error).split())[:200]
        where = f"storage={url}" if url else f"the journal {folder / 'journal.log'}"
        raise UserError(f"{where} cannot be opened: {text}; choose another run=") from None


def repair_journal(journal: Path) -> None:
    """Clear what a killed process leaves: Optuna's lock, and a last line not written whole.

    For the sole owner of the folder only, since a lock of a living process looks the same.
    """
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists() and not (data := journal.read_bytes()).endswith(b"\n") and data:
        os.truncate(journal, data.rfind(b"\n") + 1)


def defer_sigint_in(storage: BaseStorage) -> BaseStorage:
    """`storage`, with every public method of it `defer_sigint`."""
    for name, _ in inspect.getmembers(BaseStorage, inspect.isfunction):
        if not name.startswith("_"):
            setattr(storage, name, defer_sigint()(getattr(storage, name)))
    return storage
