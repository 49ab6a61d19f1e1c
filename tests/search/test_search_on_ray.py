"""A search on a real Ray finds what one on local processes finds, and survives what that does."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'mobile-nas[ray]'")

TINY = (
    "trials=6", "data.train=300", "data.val=200", "data.test=100", "budget.epochs=1",
    "space.depths=[1,2]", "space.kernels=[3,5]", "width=0.25", "references=[]", "accuracy=scratch",
    "table.blocks=40", "table.calibrate=6", "table.validate=6", "table.repeat=0",
    "latency.min_rounds=6", "latency.max_seconds=0.05",
)  # fmt: skip


TIMED = ("seconds", "measured_ms")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "nas.search", *TINY, *words]


def search(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def trials(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of trials.csv without what time decides."""
    with (folder / "results" / "search" / name / "trials.csv").open() as file:
        return [{k: row[k] for k in row if k not in TIMED} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A search on local processes; the others use its latency table."""
    folder = tmp_path_factory.mktemp("local")
    done = search(folder, "run=local")
    assert done.returncode == 0, done.stderr
    return folder


def test_the_executor_does_not_change_what_is_found(local):
    done = search(local, "executor=ray", "run=ray")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert trials(local, "ray") == trials(local, "local")


def ray_workers(session: int) -> list[int]:
    """Processes of Ray that judge networks, of that session of the system."""
    found = subprocess.run(["ps", "-eo", "pid,sess,args"], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in found.stdout.splitlines()[1:]]
    return [int(pid) for pid, own, args in rows if int(own) == session and "ray::judge" in args]


def test_a_killed_worker_and_ctrl_c_lose_only_what_was_under_way(local):
    """A worker is killed; then Ctrl-C; then the same command goes on, on local processes."""
    words = ("executor=ray", "run=disturbed")
    process = subprocess.Popen(
        command(*words), cwd=local, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    journal, deadline = local / "results" / "search" / "disturbed" / "evaluations.jsonl", 200
    end, killed = time.monotonic() + deadline, False
    while process.poll() is None and time.monotonic() < end:
        if not killed and (found := ray_workers(os.getsid(process.pid))):
            os.kill(found[0], signal.SIGKILL)
            killed = True
        if journal.exists() and len(journal.read_text().splitlines()) >= 2:
            os.kill(process.pid, signal.SIGINT)
            break
        time.sleep(0.1)
    out, err = process.communicate(timeout=120)
    assert killed
    assert process.returncode == 130, (out, err)
    assert "workers   1 lost, and replaced" in out
    done = search(local, "run=disturbed")
    assert done.returncode == 0, done.stderr
    assert trials(local, "disturbed") == trials(local, "local")
