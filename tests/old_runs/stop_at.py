"""Run a module of the old commit until a certain write: `python stop_at.py FILE TEXT N MODULE ...`.

Right after the N-th entry that is written to FILE and contains TEXT the process kills itself.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from pathlib import Path

import nas.files
from optuna.storages.journal import JournalFileBackend

NAME, TEXT, NUMBER, MODULE = *sys.argv[1:3], int(sys.argv[3]), sys.argv[4]
seen = 0


def count(path: str | Path, entry: str) -> None:
    """Die where this write is the one."""
    global seen
    seen += Path(path).name == NAME and TEXT in entry
    if seen == NUMBER:
        os.kill(os.getpid(), signal.SIGKILL)


append_logs, log, write_bytes = JournalFileBackend.append_logs, nas.files.log, nas.files.write_bytes


def append_logs_and_count(backend, entries):
    append_logs(backend, entries)
    for entry in entries:
        count(backend._file_path, json.dumps(entry))


def log_and_count(path, entry):
    log(path, entry)
    count(path, json.dumps(entry))


def write_and_count(path, data):
    write_bytes(path, data)
    count(path, "")


JournalFileBackend.append_logs = append_logs_and_count
nas.files.log, nas.files.write_bytes = log_and_count, write_and_count
sys.argv = [MODULE, *sys.argv[5:]]
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
