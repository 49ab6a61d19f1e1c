"""A search of MobileNetV4's space, end to end, by the real command on the embedded images."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

from nas.arch.operators import network_id
from nas.arch.scaling import for_resolution
from nas.arch.serialization import load
from nas.space.choices import picks_of
from search_spaces.mobilenet_v4 import mobilenet_v4

TINY = (
    "trials=4", "random=0", "accuracy=log_macs", "finalists=1", "spread=0", "references=[]",
    "data.train=300", "data.val=200", "data.test=100", "budget.epochs=1", "target=10",
    "table.blocks=40", "table.calibrate=6", "table.validate=6", "table.repeat=0",
    "latency.min_rounds=6", "latency.max_seconds=0.05",
)  # fmt: skip


def test_a_search_tries_small_and_medium_first_and_ends_with_a_winner(tmp_path):
    command = [sys.executable, "-m", "nas.search", "space=mobilenet_v4", *TINY]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    root = tmp_path / "results" / "search" / "mobilenet_v4"
    with (root / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [f"mobilenet_v4_conv_{name}_0.25" for name in ("small", "medium")]
    assert [row["name"] for row in rows[:2]] == names
    assert {row["state"] for row in rows} == {"complete"}
    winner = load(root / "winner.yaml")
    assert network_id(winner) == json.loads((root / "summary.json").read_text())["winner"]["id"]
    space = mobilenet_v4(width=0.25, channels=1, classes=10, dropout=0.0)
    assert picks_of(for_resolution(space, 28), winner)
    (table,) = (tmp_path / "results" / "latency").iterdir()
    with (table / "table.csv").open() as file:
        blocks = [row for row in csv.DictReader(file) if row["op"] == "uib"]
    assert {row["first_kernel"] for row in blocks} == {"0", "3", "5"}
