"""Make the folders of old runs anew: `python make.py CHECKOUT [NAME ...]`; README.md has more."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
INPUTS = ("latency.csv", "mine.yaml", "measure.sh")
WITHOUT = ("pareto.csv", "*.yaml", "*.json", "*.log", "*.db", "*.onnx", "*.pt")  # in what ended
Stop = tuple[str, str, int]  # a file's name, a text, and which entry with it is the last
# The commands of a run: words after those of command.txt, and where it is killed.
RUNS: dict[str, list[tuple[list[str], Stop | None]]] = {
    "search_scratch": [([], ("journal.log", '"metrics"', 4))],
    "search_log_macs": [([], ("journal.log", '"metrics"', 13))],
    "search_blend": [([], ("journal.log", '"metrics"', 5))],
    "search_blend_ended": [(["trials=8"], None)],
    "search_nsga2": [(["trials=10"], None)],
    "latency_command": [([], ("measured.jsonl", "", 15))],
    "scale_fit": [(["coefficients=[1.2,1.1,1.15]"], None), ([], ("judged.jsonl", "seed", 5))],
    "scale_oneshot": [(["phi=1"], None)],
    "train": [([], ("checkpoint.pt", "", 2))],
}


def run(checkout: str, folder: Path, words: list[str], stop: Stop | None) -> None:
    """Give a command in `folder`, which must end well, or with `stop` by its own hand."""
    environ = {**os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"}
    before = [str(HERE / "stop_at.py"), *map(str, stop)] if stop else ["-m"]
    done = subprocess.run([sys.executable, *before, *words], cwd=folder, env=environ, check=False)
    assert done.returncode == (-signal.SIGKILL if stop else 0), (folder, done.returncode)


def make(checkout: str, name: str, work: Path) -> None:
    """One folder, as it was left, and as the old commit ended it."""
    words = shlex.split((HERE / name / "command.txt").read_text())
    for file in INPUTS:
        shutil.copy(HERE / file, work)
    for more, stop in RUNS[name]:
        run(checkout, work, [*words, *more], stop)
    keep(work, HERE / name / "began")
    run(checkout, work, words, None)
    keep(work, HERE / name / "ended", *WITHOUT)


def keep(work: Path, target: Path, *without: str) -> None:
    """Copy what a run left, but for what README.md says; a database as its SQL."""
    shutil.rmtree(target, ignore_errors=True)
    without = ("*.html", "environment.json", "supernet.pt", "*.lock", *INPUTS, *without)
    shutil.copytree(work, target, ignore=shutil.ignore_patterns(*without))
    for database in target.glob("*.db"):
        with sqlite3.connect(database) as connection:
            database.with_suffix(".sql").write_text("\n".join(connection.iterdump()) + "\n")
        database.unlink()


for chosen in sys.argv[2:] or RUNS:
    with tempfile.TemporaryDirectory() as scratch:
        make(str(Path(sys.argv[1]).resolve()), chosen, Path(scratch))
