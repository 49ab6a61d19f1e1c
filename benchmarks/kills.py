"""What is lost when a command is killed: each is ended at random moments, resumed, and compared.

    python benchmarks/kills.py               writes results/benchmarks/kills.json
    python benchmarks/kills.py --times 5 --commands search train

Each command is killed so many times: by SIGKILL, by SIGTERM, by SIGINT, by a disk that is full (no
file may grow past a random size), by the loss of a worker process.  The same words then go on
until they end.  An end is right where every file of figures is as an undisturbed run has it, but
for seconds; nothing is lost where every whole line of a journal at the kill is there at the end.
The device is a command that answers by the size of the model, so that the table is the same too.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from nas.core.run_folder import environment, write_json

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "kills.json"
WAYS = ("SIGKILL", "SIGTERM", "SIGINT", "full disk", "lost worker")
DEVICE = (
    *("latency=command", "latency.command=sh -c 'echo $(wc -c < {onnx})e-5'", "latency.runs=1"),
    *("table.calibrate=6", "table.validate=6", "table.repeat=0"),
)
SPACE = ("space.depths=[1,2]", "space.kernels=[3,5]", "width=0.25")
IMAGES = ("data.train=400", "data.val=100", "data.test=100")
FIT = (
    *("fit.points=12", "fit.rungs=[[1,1],[1,2]]", "fit.confirm_epochs=1", "fit.confirm_seeds=2"),
    *("fit.resamples=100", "phi=1", "arch=mobilenet_v3_small_0.25", "resolution=28"),
)
COMMANDS = {
    "search": (
        *(*DEVICE, *SPACE, *IMAGES, "table.blocks=60", "accuracy=scratch", "trials=10"),
        *("budget.epochs=2", "references=[mobilenet_v3_small]"),
    ),
    "latency": (*DEVICE, *SPACE, "table.blocks=200"),
    "scale": (*DEVICE[:3], *FIT, *IMAGES),
    "train": (*IMAGES, "arch=mobilenet_v3_small_0.25", "budget.epochs=8", "measure=false"),
}
TIMES = ("seconds", "environment")  # keys of what no two runs share end so
GRACE_S = 20  # for what a killed command started to be gone


def start(command: str, folder: Path, max_bytes: int | None = None) -> subprocess.Popen[str]:
    """The command in a session of its own; files may grow to `max_bytes`."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # it is not heard in a shell's background
        if max_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    return subprocess.Popen(
        [sys.executable, "-m", f"nas.{command}", *COMMANDS[command]],
        cwd=folder, text=True, start_new_session=True, preexec_fn=prepare,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def end(command: str, folder: Path) -> tuple[int, str]:
    """The command's exit code, and all that it printed."""
    process = start(command, folder)
    printed, _ = process.communicate()
    return process.returncode, printed


def kill(command: str, way: str, folder: Path, seconds: float, draw: random.Random) -> str:
    """Start the command and end it `way` within so many seconds; what it printed."""
    largest = max(path.stat().st_size for path in (folder.parent / "whole").rglob("*.*"))
    limit = int(largest * draw.random()) + 1 if way == "full disk" else None
    process = start(command, folder, limit)
    time.sleep(draw.uniform(0.1, 1.0) * seconds)
    if way == "lost worker":
        for worker in workers(process.pid):
            os.kill(worker, signal.SIGKILL)
            break
    elif way != "full disk" and process.poll() is None:
        os.kill(process.pid, getattr(signal, way))
    printed, _ = process.communicate()
    wait_until_gone(process.pid)
    return f"exit {process.returncode}\n{printed}"


def processes(session: int) -> list[tuple[int, str]]:
    """(process, command line) of all that live in the session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now
        if int(fields[3]) == session and fields[0] != "Z":
            found.append((int(path.name), line))
    return found


def workers(session: int) -> list[int]:
    """Processes that train or measure for the one that leads the session."""
    others = [(pid, line) for pid, line in processes(session) if pid != session]
    return [pid for pid, line in others if "resource_tracker" not in line]


def wait_until_gone(session: int) -> None:
    """Raise where a killed command leaves processes behind."""
    ends = time.monotonic() + GRACE_S
    while left := processes(session):
        if time.monotonic() > ends:
            raise RuntimeError(f"left behind: {left}")
        time.sleep(0.1)


def journal_lines(folder: Path) -> dict[str, set[bytes]]:
    """The whole lines of every journal."""
    found = {}
    for path in folder.rglob("*.jsonl"):
        *whole, _ = path.read_bytes().split(b"\n")
        found[str(path.relative_to(folder))] = set(whole)
    return found


def figures(folder: Path) -> dict[str, Any]:
    """What a run has found, without times: its summary, its networks, its weights."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "results").rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "summary.json":
            found[name] = timeless(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8") as file:
                found[name] = timeless(list(csv.DictReader(file)))
        elif path.suffix == ".yaml" and path.name != "config.yaml":
            found[name] = path.read_text(encoding="utf-8")
        elif path.name == "weights.pt":
            state = torch.load(path, weights_only=True)
            found[name] = float(sum(t.double().abs().sum() for t in tensors(state)))
    return found


def tensors(state: Any) -> list[torch.Tensor]:
    """All tensors of nested mappings."""
    if isinstance(state, torch.Tensor):
        return [state]
    inner = state.values() if isinstance(state, dict) else []
    return [tensor for value in inner for tensor in tensors(value)]


def timeless(value: Any) -> Any:
    """Plain data without what the clock decides."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not k.endswith(TIMES)}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names of files whose figures differ."""
    return [k for k in sorted(ours.keys() | theirs.keys()) if ours.get(k) != theirs.get(k)]


def try_once(command: str, way: str, seed: int, whole: Path, seconds: float) -> dict[str, Any]:
    """A row: what a killed and resumed run has, against the one of the folder `whole`."""
    folder = whole.parent / f"{command}-{seed}"
    folder.mkdir()
    printed = kill(command, way, folder, seconds, random.Random(f"{command}/{way}/{seed}"))
    before = journal_lines(folder)
    code, last = end(command, folder)
    after = journal_lines(folder)
    lost = sum(len(lines - after.get(name, set())) for name, lines in before.items())
    row = {
        "command": command, "way": way, "seed": seed, "exit": printed.split("\n")[0],
        "exit_resumed": code, "lines_before": sum(map(len, before.values())), "lines_lost": lost,
        "differing": differing(figures(folder), figures(whole)),
        "traceback": "Traceback" in printed + last,
    }  # fmt: skip
    if row["traceback"] or row["differing"] or code or lost:
        row["printed"] = [printed[-3000:], last[-3000:]]
    shutil.rmtree(folder)
    return row


def main() -> None:
    """Kill, resume, compare; write the rows and the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=25, help="kills of each command")
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    args = parser.parse_args()
    rows = []
    for command in args.commands:
        with tempfile.TemporaryDirectory() as name:
            whole = Path(name) / "whole"
            whole.mkdir()
            began = time.monotonic()
            code, printed = end(command, whole)
            if code:
                raise SystemExit(printed)
            seconds = time.monotonic() - began
            ways = WAYS[:-1] if command == "train" else WAYS  # it has no workers
            for seed in range(args.times):
                rows.append(try_once(command, ways[seed % len(ways)], seed, whole, seconds))
                print(json.dumps(rows[-1]), flush=True)
    right = [not (r["differing"] or r["traceback"] or r["exit_resumed"]) for r in rows]
    counts = {"kills": len(rows), "right": sum(right), "lost": sum(r["lines_lost"] for r in rows)}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULT, {**counts, "rows": rows, "environment": environment()})
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
