"""The search under torchrun: its supernet is trained by two processes, the rest is done by one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nas.core.errors import UserError
from nas.search.run import search
from nas.search.settings import SearchSettings

WORDS = (
    "trials=6", "finalists=1", "spread=0", "random=0", "data.train=100", "data.val=60",
    "data.test=50", "budget.epochs=1", "space.depths=[1]", "space.kernels=[3,5]", "width=0.25",
    "space.acts=[swish]",  # over a kink a difference in the last bit grows
    "references=[]", "table.blocks=40", "table.calibrate=6", "table.validate=6", "table.repeat=0",
    "latency.min_rounds=6", "latency.max_seconds=0.05", "accuracy=oneshot",
    "accuracy.budget.training.epochs=1", "accuracy.budget.training.batch_size=25",
    "+accuracy.budget.training.precision=fp32", "accuracy.budget.checks=1", "target=99",
)  # fmt: skip
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "LOGLEVEL": "ERROR"}  # torchrun's


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, "-m", "nas.search", *WORDS, *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where a search by two was, and what it said."""
    folder = tmp_path_factory.mktemp("several")
    with started(folder, "run=two") as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "nas/" not in err
    return folder, out


def supernet(folder: Path, name: str) -> dict[str, torch.Tensor]:
    path = folder / "results" / "search" / name / "supernet.pt"
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["weights"]
    return weights


def test_two_leave_what_one_does(two, monkeypatch):
    folder, out = two
    assert out.count("wrote     ") == out.count("winner    ") == 1
    monkeypatch.chdir(folder)
    search(SearchSettings.of(*WORDS, "run=one"))  # by the latency table of the first
    weights, other = supernet(folder, "one"), supernet(folder, "two")
    assert list(weights) == list(other)
    for name, tensor in weights.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-3, atol=1e-4)
    folders = [folder / "results" / "search" / name for name in ("one", "two")]
    assert {p.name for p in folders[0].iterdir()} == {p.name for p in folders[1].iterdir()}
    about = [json.loads((path / "environment.json").read_text()) for path in folders]
    assert [facts["processes"] for facts in about] == [1, 2]


def test_where_nothing_is_left_to_train_the_other_leaves(two):
    folder, out = two
    with started(folder, "run=two") as process:
        again, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert [line for line in again.splitlines() if line.startswith("winner")] == [
        line for line in out.splitlines() if line.startswith("winner")
    ]


def test_where_the_first_fails_the_other_does_not_wait(tmp_path):
    """The other waits for a supernet meanwhile."""
    with started(tmp_path, "limit.macs=10") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("python -m nas.search: limit.macs=10 is out of reach") == 1
    assert err.count("nas.search: ") == 1


def test_ctrl_c_ends_who_waits_for_the_first(tmp_path):
    with started(tmp_path) as process:
        assert process.stdout
        next(line for line in process.stdout if line.startswith("data "))  # latency is timed now
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode != 0
    assert time.monotonic() - began < 25


def test_other_judges_have_no_use_for_several_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match="and accuracy=blend trains no network on several proc"):
        search(SearchSettings.of())
