"""`refine=netadapt` as a user gives it: the real command, what it leaves, what it refuses."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nas.arch.operators import network_id
from nas.arch.serialization import load
from nas.core.errors import UserError
from nas.search.netadapt import NetAdapt
from nas.search.refine import choose_start

TINY = (
    "trials=6", "data.train=300", "data.val=200", "data.test=100", "budget.epochs=1",
    "space.depths=[1,2]", "space.kernels=[3,5]", "width=0.25", "references=[]", "accuracy=scratch",
    "table.blocks=40", "table.calibrate=6", "table.validate=6", "table.repeat=0",
    "latency.min_rounds=6", "latency.max_seconds=0.05",
)  # fmt: skip
SHORT = ("refine=netadapt", "refine.batches=2", "refine.step=0.05")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "nas.search", *TINY, *words]


def search(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def summary_of(folder: Path, run: str) -> dict:
    return json.loads((folder / "results/search" / run / "summary.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A search that ended and was then given again with it; its folder and its words.

    The target is a little below the slowest network of an earlier search, which made the table.
    """
    folder = tmp_path_factory.mktemp("first")
    done = search(folder, "run=plain")
    assert done.returncode == 0, done.stderr
    with (folder / "results/search/plain/trials.csv").open() as file:
        slowest = max(float(row["latency_ms"]) for row in csv.DictReader(file))
    words = (f"target={slowest / 1.15:.4g}", *SHORT)
    done = search(folder, "run=first", words[0])
    assert done.returncode == 0, done.stderr
    assert "refined" not in summary_of(folder, "first")
    done = search(folder, "run=first", *words)
    assert done.returncode == 0, done.stderr
    return folder, words, done


def scores(folder: Path, run: str) -> list[str]:
    """The networks that were scored, one line for each time."""
    (path,) = (folder / "results/search" / run).glob("refine/*/scores.jsonl")
    return [line for line in path.read_text().splitlines() if line.endswith("}")]


def test_a_search_that_ended_can_be_refined(first):
    folder, _, done = first
    summary = summary_of(folder, "first")
    refined, target = summary["refined"], summary["target_ms"]
    assert refined["start"]["latency_ms"] > target
    assert refined["latency_ms"] == pytest.approx(refined["steps"][-1]["latency_ms"])
    assert 0.9 * target <= refined["latency_ms"] <= target
    arch = load(folder / "results/search/first/refined.yaml")
    assert network_id(arch) == refined["id"] == refined["steps"][-1]["id"]
    assert f"refined   {refined['accuracy']:.1%}" in done.stdout
    winner, uniform = refined["gains"]
    assert winner["id"] == summary["winner"]["id"]
    assert uniform["name"].startswith("uniform width x0.")
    assert uniform["latency_ms"] <= target
    for row in (winner, uniform):
        assert row["gain"] == pytest.approx(refined["test_accuracy"] - row["test_accuracy"])
        assert row["gain_se"] >= 0
        assert f"{100 * row['gain']:+.1f} ± {100 * row['gain_se']:.1f} points over" in done.stdout
    assert "refined by NetAdapt" in (folder / "results/search/first/report.html").read_text()


def test_killed_in_the_middle_it_ends_with_the_same_network_and_repeats_nothing(first):
    """The trials are those of the first search, since one seed and one table give the same."""
    folder, words, _ = first
    for number in (2, 4):
        with subprocess.Popen(
            command("run=killed", *words),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            end = time.monotonic() + 240
            while process.poll() is None and time.monotonic() < end:
                kept = (folder / "results/search/killed").glob("refine/*/scores.jsonl")
                if any(len(path.read_text().splitlines()) >= number for path in kept):
                    break
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL if number == 2 else signal.SIGINT)
    done = search(folder, "run=killed", *words)
    assert done.returncode == 0, done.stderr
    assert sorted(scores(folder, "killed")) == sorted(set(scores(folder, "killed")))
    assert scores(folder, "killed") == scores(folder, "first")
    ours, theirs = (summary_of(folder, run)["refined"] for run in ("killed", "first"))
    assert (ours["steps"], ours["accuracy"]) == (theirs["steps"], theirs["accuracy"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("weights=pretrained", "arch=mobilenet_v3_small"), "does not go with weights=pretrained"),
        (
            (
                "weights=pretrained",
                "arch=mobilenet_v3_small",
                "task=segmentation",
                "data=masks",
                "data.root=.",
            ),
            "does not go with weights=pretrained task=segmentation",
        ),
        (("refine.step=0",), "refine.step must be a number above 0 to below 1, not 0"),
        (("refine.start=1",), "refine.start must be a number above 1, not 1"),
        (("refine.batches=0",), "refine.batches must be a whole number from 1, not 0"),
    ],
)
def test_what_it_does_not_go_with_is_refused_before_anything_is_measured(
    words, says, tmp_path, refusal
):
    line = refusal("search", "refine=netadapt", *words, cwd=tmp_path)
    assert says in line
    assert not (tmp_path / "results").exists()


def test_without_a_larger_network_it_is_refused_and_the_search_is_reported_all_the_same(first):
    folder, words, _ = first
    done = search(folder, "run=first", *words, "refine.start=1.0001")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "trained none: give more trials=, finalists= or spread=" in line
    assert "winner    " in done.stdout
    assert "refined" not in summary_of(folder, "first")


def row(key, latency_ms, accuracy, state="complete"):
    return {"id": key, "latency_ms": latency_ms, "accuracy": accuracy, "state": state}


def test_the_most_accurate_of_the_larger_networks_is_shrunk():
    rows = [row("a", 0.9, 0.9), row("b", 1.1, 0.6), row("c", 1.2, 0.7), row("d", 1.15, 0.7),
            row("e", 1.3, 0.8), row("f", 1.1, None, "failed"), row("g", 1.0, 0.95)]  # fmt: skip
    run = SimpleNamespace(
        study=SimpleNamespace(rows=lambda: rows),
        judge=SimpleNamespace(trains_each=True),
        problem=SimpleNamespace(target_ms=1.0),
        arch_of=lambda key: key,
    )
    assert choose_start(run, NetAdapt()) == "d"
    assert choose_start(run, NetAdapt(start=2.0)) == "e"
    with pytest.raises(UserError, match=r"shrinks a network of 1 to 1.05 ms"):
        choose_start(run, NetAdapt(start=1.05))
