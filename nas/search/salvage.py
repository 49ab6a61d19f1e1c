"""What can still be read of a study's journal that has damaged lines.

Trials before the first of them stay.  Those after it were proposed with the knowledge of what is
lost now: they become a note, and are proposed again in their turn, but not evaluated again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

from nas.core.errors import UserError
from nas.core.files import write_bytes

NOTE = "salvaged"  # the params and metrics of the trials that are proposed again
CREATE, ATTRIBUTE = 0, 2  # Optuna's codes of a study and of a note
NO_TRIAL = re.compile(rb'"op_code":[02],|"study_name":|"user_attr":')
# What Optuna raises on a line that it did not write so.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError)

Entry = dict[str, Any]


class _Line(NamedTuple):
    text: bytes
    entry: Entry | None  # None where it is damaged
    trial: FrozenTrial | None  # that it creates


class _Entries(BaseJournalBackend):
    """A journal that is no file."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries

    def append_logs(self, logs: list[Entry]) -> None:
        self.entries += logs

    def read_logs(self, log_number_from: int) -> Iterator[Entry]:
        return iter(self.entries[log_number_from:])


def salvage(path: Path, name: str, directions: Sequence[int]) -> str:
    """Rewrite the journal of the study `name` without damaged lines; what is lost, in words.

    The file as it was is kept beside.  Raises UserError where no line can be read.
    """
    study = {"op_code": CREATE, "worker_id": "", "study_name": name, "directions": [*directions]}
    lines = [_read(text, study) for text in path.read_bytes().split(b"\n")[:-1]]
    damaged = [i for i, line in enumerate(lines) if line.entry is None]
    if len(damaged) in (0, len(lines)):
        raise UserError(f"the run's journal is damaged beyond repair ({path}): choose another run=")
    before, after = lines[: damaged[0]], lines[damaged[0] :]
    told = [x.trial for x in after if x.trial and "metrics" in x.trial.user_attrs]
    rows = [{"params": t.params, "metrics": t.user_attrs["metrics"]} for t in told]
    earlier = [x.entry.get("user_attr", {}).get(NOTE) for x in lines if x.entry]
    rows += next((found for found in reversed(earlier) if found is not None), [])
    note = {"op_code": ATTRIBUTE, "worker_id": "", "study_id": 0, "user_attr": {NOTE: rows}}
    notes = [x.text for x in after if x.entry and x.entry["op_code"] == ATTRIBUTE]
    copy = _free(path)
    write_bytes(copy, b"".join(line.text + b"\n" for line in lines))
    kept = [line.text for line in before] or [_text(study)]
    write_bytes(path, b"".join(text + b"\n" for text in (*kept, *notes, _text(note))))
    unfinished = sum(not x.trial.user_attrs for x in after if x.trial)  # of version 0.1
    return (
        f"lines of {path.name} that are damaged: {len(damaged)} · {_num_lost(lines) + unfinished} "
        f"trials are lost and tried again, {len(rows)} after them are not evaluated again · the "
        f"file as it was is kept as {copy}"
    )


def _read(text: bytes, study: Entry) -> _Line:
    try:
        entry = json.loads(text)
        trials = JournalStorage(_Entries([study, entry])).get_all_trials(0)
    except UNREADABLE:
        return _Line(text, None, None)
    return _Line(text, entry, trials[0] if trials else None)


def _num_lost(lines: Sequence[_Line]) -> int:
    """How many trials are lost: by how damaged lines look, or more by the numbers of others.

    The first line is the study's.
    """
    read = [line.trial for line in lines if line.trial]
    looks = sum(line.entry is None and not NO_TRIAL.search(line.text) for line in lines[1:])
    numbers = (trial.user_attrs.get("batch_numbers", (0, 0))[1] for trial in read)
    return max(looks, max(numbers, default=0) - len(read))


def _text(entry: Entry) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()


def _free(path: Path) -> Path:
    """A name beside `path` that no file has."""
    names = (path.with_suffix(f".damaged{i or ''}{path.suffix}") for i in range(1000))
    return next(name for name in names if not name.exists())
