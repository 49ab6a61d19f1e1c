"""`python -m nas.latency`, the real command on this machine, at an effort of seconds."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

SHORT = (
    "table.blocks=60", "table.calibrate=8",
    "table.validate=12", "table.repeat=2", "latency.min_rounds=6", "latency.max_seconds=0.05",
)  # fmt: skip
COMMAND = [sys.executable, "-m", "nas.latency"]


def run(folder, *words):
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def folder_of(folder):
    (found,) = (folder / "results" / "latency").iterdir()
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latency")
    done = run(folder, *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_it_says_and_saves_how_wrong_the_table_is(built):
    folder, said = built
    root = folder_of(folder)
    summary = json.loads((root / "summary.json").read_text())
    found = summary["validation"]
    assert summary["num_blocks"] == 60 < summary["num_keys"]
    assert summary["seconds"] > 0
    assert found["num_networks"] == 12
    assert {"mape", "within_5", "within_10", "spearman", "kendall"} <= found.keys()
    assert 0 <= found["mape"] < 1
    assert 0 <= found["within_5"] <= found["within_10"] <= 1
    assert f"12 unseen networks: MAPE {found['mape']:.1%}" in said
    names = {path.name for path in root.iterdir()}
    assert names >= {"table.json", "table.csv", "blocks.csv", "networks.csv", "summary.json",
                     "environment.json", "latency.html"}  # fmt: skip
    with (root / "table.csv").open() as file:
        assert sum(1 for _ in csv.DictReader(file)) == summary["num_keys"] + 1


def test_it_says_what_the_space_reaches(built):
    folder, said = built
    summary = json.loads((folder_of(folder) / "summary.json").read_text())
    assert summary["fastest_ms"] < summary["target_ms"] < summary["slowest_ms"]
    assert 0 < summary["share_within_target"] < 1
    assert "mobilenet_v2_0.25" in summary["published"]
    assert all(f"published {name} " in said for name in summary["published"])
    assert f"MACs rank random networks at Spearman {summary['macs_spearman']:.3f}" in said


def test_the_same_command_again_measures_nothing(built):
    folder, said = built
    measured = (folder_of(folder) / "measured.jsonl").read_bytes()
    done = run(folder, *SHORT)
    assert done.returncode == 0, done.stderr
    assert (folder_of(folder) / "measured.jsonl").read_bytes() == measured
    assert [x for x in said.splitlines() if "unseen" in x and "of" in x][-1] in done.stdout


def test_killed_in_the_middle_it_goes_on(built, tmp_path):
    with subprocess.Popen(
        [*COMMAND, *SHORT], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            files = list(tmp_path.glob("results/latency/*/measured.jsonl"))
            if files and files[0].read_text().count("\n") > 10:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = files[0].read_text().splitlines()
    assert len(kept) > 10
    done = run(tmp_path, *SHORT)
    assert done.returncode == 0, done.stderr
    assert files[0].read_text().splitlines()[: len(kept) - 1] == kept[:-1]
    keys = [json.loads(line)["key"] for line in files[0].read_text().splitlines() if "}}" in line]
    assert len(set(keys)) == 60 + 8 + 12 + 2


def test_a_target_out_of_reach_is_said_in_one_line(built):
    folder, _ = built
    done = run(folder, *SHORT, "target=0.0001")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "target=0.0001 ms is out of reach: the fastest network of the space takes" in line


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("strict=maybe", "strict must be true or false"),
        ("target=mobilenet_v9", "mobilenet_v9"),
        ("table.blocks=0", "table.blocks must be a whole number from 1"),
        ("resolution=0", "resolution must be a whole number"),
        ("latency=abacus", "abacus"),
        ("latency=command", "latency.command must be given"),
        ("latency.rel_ci=0", "rel_ci must be a number above 0"),
    ],
)
def test_mistakes_are_one_line(tmp_path, word, says, refusal):
    assert says in refusal("latency", word, cwd=tmp_path)
    assert not (tmp_path / "results").exists()
