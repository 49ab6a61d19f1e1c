"""What a search on a cluster loses when something fails: each drill many times, compared.

    python -m benchmarks.drills                        writes results/benchmarks/drills.json
    python -m benchmarks.drills --times 3 --drills worker_killed

A search of ten small trainings runs on a Ray of its own, begun as a user begins a cluster, with its
study in a PostgreSQL where the drill is about that.  After a random number of networks something
fails:

    worker_killed       a worker gets SIGKILL in the middle of a training
    worker_hangs        a worker is stopped, and answers no more
    disk_full           the disk of the workers has no room left
    driver_killed       the search itself gets SIGKILL, and is given again from another folder
    database_stopped    PostgreSQL is stopped for 30 seconds

Where the search ends with an error the same command is given again.  An end is right where every
file of the search's figures is as an undisturbed one has it, but for seconds.  What came too late
to hit anything is a row, but does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.kills import DEVICE, IMAGES, SPACE, differing, figures
from benchmarks.postgres import Postgres
from nas.core.run_folder import environment, write_json

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "drills.json"
PORT = 26379  # of the drills' Ray
ROOM = 400_000_000  # bytes of the disk that is filled
AWAY_S = 30.0  # that the database is stopped
TRIALS = 10  # networks of a search, beside a published one
SEARCH = (
    *(*DEVICE, *SPACE, *IMAGES, "table.blocks=60", "accuracy=scratch", f"trials={TRIALS}"),
    *("run=drill", "budget.epochs=8", "references=[mobilenet_v3_small]", "executor=ray"),
    *(f"executor.address=127.0.0.1:{PORT}", "executor.timeout_s=30"),
)


@dataclass(frozen=True)
class Place:
    """Where drills happen: the folder of Ray's files, and the database if there is one."""

    disk: Path
    server: Postgres | None

    def storage(self, name: str) -> list[str]:
        """Words of a search whose study is in a new database."""
        assert self.server
        with psycopg.connect(self.server.url.replace("+psycopg", ""), autocommit=True) as open_:
            open_.execute(f"CREATE DATABASE {name}")
        return [f"storage={self.server.url.replace('/postgres?', f'/{name}?')}"]


def ray(*words: str) -> None:
    """Ray's own command."""
    environ = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", *words], env=environ, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


@contextmanager
def cluster(disk: Path) -> Iterator[None]:
    """A Ray of four cores on this machine, its files in `disk`: two are spare for the drills."""
    words = ["--head", f"--port={PORT}", "--num-cpus=4", "--include-dashboard=false"]
    ray("start", *words, f"--temp-dir={disk}", "--disable-usage-stats")
    try:
        yield
    finally:
        ray("stop", "--force")


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system in memory with little room; needs to be root."""
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def start(folder: Path, words: list[str]) -> subprocess.Popen[str]:
    """The search in a session of its own."""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "nas.search", *SEARCH, *words], cwd=folder, text=True, env=environ,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def workers(disk: Path) -> list[int]:
    """Processes that judge networks now, of the Ray whose files are in `disk`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if (path / "cmdline").read_bytes().startswith(b"ray::judge_in_worker"):
                parent = (path / "stat").read_text().rpartition(") ")[2].split()[1]
                if bytes(disk) in Path(f"/proc/{parent}/cmdline").read_bytes():
                    found.append(int(path.name))
    return sorted(found)


def wait_for_worker(place: Place, process: subprocess.Popen[str]) -> int:
    """A worker in the middle of a training; 0 where the search ended before."""
    while process.poll() is None:
        if found := workers(place.disk):
            return found[-1]
        time.sleep(0.05)
    return 0


def kill_worker(place: Place, process: subprocess.Popen[str]) -> bool:
    """SIGKILL."""
    if worker := wait_for_worker(place, process):
        os.kill(worker, signal.SIGKILL)
    return worker > 0


def hang_worker(place: Place, process: subprocess.Popen[str]) -> bool:
    """SIGSTOP; when the search has ended the process is ended too."""
    if worker := wait_for_worker(place, process):
        os.kill(worker, signal.SIGSTOP)
        process.wait(300)
        with suppress(ProcessLookupError):  # Ray has ended it
            os.kill(worker, signal.SIGKILL)
    return worker > 0


def fill_disk(place: Place, process: subprocess.Popen[str]) -> bool:
    """Until the search has ended there is no room left."""
    filler, hit = place.disk / "filler", process.poll() is None
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # full, as it should be
        while True:
            file.write(bytes(1 << 16))
    process.wait(300)
    filler.unlink()
    return hit


def kill_driver(place: Place, process: subprocess.Popen[str]) -> bool:
    """SIGKILL of the search."""
    if hit := process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    return hit


def stop_database(place: Place, process: subprocess.Popen[str]) -> bool:
    """Stop, wait, start."""
    assert place.server
    hit = process.poll() is None
    place.server.stop()
    time.sleep(AWAY_S)
    place.server.start()
    return hit


Disturb = Callable[[Place, subprocess.Popen[str]], bool]  # whether the search was under way
DRILLS: dict[str, Disturb] = {
    "worker_killed": kill_worker,
    "worker_hangs": hang_worker,
    "disk_full": fill_disk,
    "driver_killed": kill_driver,
    "database_stopped": stop_database,
}
STORED = ("driver_killed", "database_stopped")


def wait_for_moment(rng: random.Random, folder: Path, process: subprocess.Popen[str]) -> None:
    """Until some networks, not the last two, are written down, and up to a second more."""
    journal = folder / "results" / "search" / "drill" / "evaluations.jsonl"
    number = rng.randrange(1, TRIALS - 1)
    while process.poll() is None:
        if journal.exists() and len(journal.read_bytes().splitlines()) >= number:
            time.sleep(rng.uniform(0, 1))
            return
        time.sleep(0.05)


def try_once(drill: str, seed: int, place: Place, whole: Path) -> dict[str, Any]:
    """A row: what the disturbed search has, against the one in the folder `whole`."""
    words = place.storage(f"{drill}_{seed}") if drill in STORED else []
    folder = whole.parent / f"{drill}-{seed}"
    folder.mkdir()
    began, process = time.monotonic(), start(folder, words)
    wait_for_moment(random.Random(f"{drill}/{seed}"), folder, process)
    hit = DRILLS[drill](place, process)
    printed, _ = process.communicate(timeout=600)
    code = process.returncode
    if drill == "driver_killed":
        shutil.rmtree(folder)  # the machine is gone
        folder.mkdir()
    if again := code != 0:
        process = start(folder, words)
        more, _ = process.communicate(timeout=600)
        code, printed = process.returncode, printed + more
    row = {
        "drill": drill, "seed": seed, "seconds": time.monotonic() - began, "exit": code, "hit": hit,
        "again": again,
        "differing": [n for n in differing(figures(folder), figures(whole)) if "search" in n],
        "twice": trained_twice(folder),
        "lost_workers": "lost, and replaced" in printed, "traceback": "Traceback" in printed,
    }  # fmt: skip
    if row["differing"] or row["traceback"] or code:
        row["printed"] = printed[-3000:]
    shutil.rmtree(folder)
    return row


def trained_twice(folder: Path) -> int:
    """Networks whose training was written down more than once."""
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("evaluations.jsonl")]
    lines = [json.loads(line) for text in texts for line in text.splitlines() if line.strip()]
    trained = Counter((line["role"], line["id"]) for line in lines)
    return sum(number - 1 for number in trained.values())


def main() -> None:
    """Drill, compare, write the rows and the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20, help="of each drill")
    parser.add_argument("--drills", nargs="+", default=list(DRILLS), choices=list(DRILLS))
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    text = args.out.read_text(encoding="utf-8") if args.out.exists() else '{"rows": []}'
    rows: list[dict[str, Any]] = json.loads(text)["rows"]  # these are not drilled again
    done = {(row["drill"], row["seed"]) for row in rows}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = stack.enter_context(small_disk())
        stored = set(STORED) & set(args.drills)
        server = stack.enter_context(closing(Postgres())) if stored else None
        stack.enter_context(cluster(disk))
        place, whole = Place(disk, server), home / "whole"
        whole.mkdir()
        process = start(whole, [])
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(printed)
        for seed, drill in product(range(args.times), args.drills):  # all alike, if it is stopped
            if (drill, seed) not in done:
                rows.append(try_once(drill, seed, place, whole))
                print(json.dumps(rows[-1]), flush=True)
                write_result(args.out, rows)
    print(json.dumps(counts(rows)))


def counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Of each drill: how often, how often its end was right, what was trained twice."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        of = found.setdefault(row["drill"], {"times": 0, "right": 0, "twice": 0})
        if not row["hit"]:
            continue
        of["times"] += 1
        of["right"] += not (row["differing"] or row["traceback"] or row["exit"])
        of["twice"] += row["twice"]
    return found


def write_result(path: Path, rows: list[dict[str, Any]]) -> None:
    """The file, after every drill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"counts": counts(rows), "rows": rows, "environment": environment()})


if __name__ == "__main__":
    main()
