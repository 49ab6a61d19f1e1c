"""The ablation command as a user runs it: whole, killed and given again, and its mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from nas.ablate import run as run_module
from nas.ablate.__main__ import ABOUT
from nas.ablate.__main__ import run as run_command
from nas.ablate.run import ablate, compared
from nas.ablate.settings import AblateSettings
from nas.accuracy.paired import PairedTraining, right_answers, with_fewer_images
from nas.accuracy.scratch import Scratch
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.arch.serialization import dumps, load
from nas.core.cli import main
from nas.core.errors import UserError
from nas.data.dataset import load_data
from nas.stats.paired import paired_interval
from nas.training.loop import Budget

BLOCK = Block(act="relu6", expand=2)
SMALL = Arch((Stage(8, 2, 2, BLOCK), Stage(16, blocks=BLOCK)), Stem(8, act="relu6"),
             Head(32, "relu6"), resolution=20, channels=1, classes=10)  # fmt: skip
WORDS = ("arch=mine.yaml", "images=200", "data.val=100", "data.test=100", "budget.epochs=1",
         "workers=1", "seeds=2", "latency.min_rounds=6", "latency.max_seconds=0.02")  # fmt: skip
FEW = "ablations=[no_residual,relu,relu6,full_convolution]"
TIMES = ("latency_ms", "latency_ratio", "noisy", "seconds")


def command(folder, *words):
    return [sys.executable, "-m", "nas.ablate", *words], {"cwd": folder, "text": True}


def untimed(summary):
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in summary["rows"]]
    return {**summary, "rows": rows, "seconds": None}


def summary_of(folder):
    root = folder / "results" / "ablate" / "mine"
    return root, json.loads((root / "summary.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run in one go, its folder and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "mine.yaml").write_text(dumps(SMALL))
    words, how = command(folder, *WORDS, FEW)
    done = subprocess.run(words, capture_output=True, check=False, timeout=240, **how)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_run_leaves_everything_it_promises(whole):
    folder, out = whole
    root, found = summary_of(folder)
    names = {path.name for path in root.iterdir()}
    assert names >= {"ablation.html", "ablation.csv", "summary.json", "environment.json",
                     "config.yaml", "networks", "trainings.jsonl"}  # fmt: skip
    assert [row["name"] for row in found["rows"]] == [
        "network", "no_residual", "relu", "full_convolution"
    ]  # fmt: skip
    assert found["unchanged"] == ["relu6"]
    assert "relu6: they change nothing in mine" in out
    assert found["images"] == {"train": 200, "val": 100, "test": 100}
    table = pd.read_csv(root / "ablation.csv")
    base = found["rows"][0]
    for row, line in zip(found["rows"], table.to_dict("records"), strict=True):
        arch = load(root / "networks" / f"{row['name']}.yaml")
        assert network_id(arch) == row["id"] == line["id"]
        assert (cost(arch).macs, cost(arch).params) == (row["macs"], row["params"])
        assert row["macs_ratio"] == pytest.approx(row["macs"] / base["macs"])
        assert row["params_ratio"] == pytest.approx(row["params"] / base["params"])
        assert row["latency_ratio"] == pytest.approx(row["latency_ms"] / base["latency_ms"])
        assert row["difference"] == pytest.approx(row["accuracy"] - base["accuracy"])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert f"{row['macs_ratio']:.2f}" in out
        assert row["words"] in out
        assert len(row["accuracies"]) == 2
    page = (root / "ablation.html").read_text()
    assert "Accuracy against latency" in page
    assert "<script src" not in page
    assert "nas.ablate" in json.loads((root / "environment.json").read_text())["command"]
    config = yaml.safe_load((root / "config.yaml").read_text())
    assert (config["seeds"], config["choices"]["budget"]) == (2, "quick")


def test_what_was_killed_goes_on_to_the_same_figures(whole, tmp_path):
    folder, _ = whole
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    words, how = command(tmp_path, *WORDS, FEW)
    journal = tmp_path / "results" / "ablate" / "mine" / "trainings.jsonl"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **how) as going:
        end = time.monotonic() + 120
        while not (journal.exists() and len(journal.read_text().splitlines()) >= 3):
            assert time.monotonic() < end
            time.sleep(0.005)
        os.kill(going.pid, signal.SIGKILL)
    kept = journal.read_text()
    assert 3 <= len(kept.splitlines()) <= 8
    journal.write_text(kept + '\n{"key": "cut sho')
    done = subprocess.run(words, capture_output=True, check=False, timeout=240, **how)
    assert done.returncode == 0, done.stderr
    assert journal.read_text().startswith(kept)
    assert len(journal.read_text().splitlines()) == 9, "nothing is trained twice"
    assert untimed(summary_of(tmp_path)[1]) == untimed(summary_of(folder)[1])


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """A function that runs the command in this process and tells what it returned and printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))

    def ran(*words):
        found = ablate(AblateSettings.of(*WORDS, "measure=false", *words))
        assert json.loads(json.dumps(found)) == summary_of(tmp_path)[1]
        return found, capsys.readouterr().out

    return ran


def test_more_seeds_and_ablations_train_only_what_is_new(here, tmp_path):
    here("ablations=[relu]")
    journal = tmp_path / "results" / "ablate" / "mine" / "trainings.jsonl"
    before = journal.read_text().splitlines()
    found, out = here("ablations=[relu,hswish]", "seeds=3")
    after = journal.read_text().splitlines()
    assert (len(before), len(after)) == (4, 9)
    assert after[:4] == before
    assert found["seeds"] == [0, 1, 2]
    assert found["rows"][0]["latency_ms"] is None
    assert "latency" not in out
    here("ablations=[relu]", "images=150")
    assert len(journal.read_text().splitlines()) == 13, "of other images nothing is known"


def test_a_variant_that_fails_costs_that_variant_and_is_tried_again(here, tmp_path, monkeypatch):
    train = PairedTraining.__call__

    def fail(self, arch, seed):
        if arch.name.endswith("_relu") and seed == 1:
            raise RuntimeError("the loss became nan")
        return train(self, arch, seed)

    monkeypatch.setattr(PairedTraining, "__call__", fail)
    found, out = here("ablations=[relu,hswish]")
    assert [("reason" in row) for row in found["rows"]] == [False, True, False]
    assert "failed    ReLU everywhere: RuntimeError: the loss became nan" in out
    assert "the loss became nan" in (tmp_path / "results/ablate/mine/ablation.html").read_text()
    monkeypatch.setattr(PairedTraining, "__call__", train)
    found, _ = here("ablations=[relu,hswish]")
    assert not any("reason" in row for row in found["rows"])


def test_without_the_network_itself_there_is_no_comparison(here, monkeypatch):
    monkeypatch.setattr(PairedTraining, "__call__", lambda *_: 1 / 0)
    with pytest.raises(UserError, match="mine cannot be trained like this: ZeroDivisionError"):
        here("ablations=[relu]")


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    monkeypatch.setattr(run_module, "train_all", press)
    monkeypatch.setattr(sys, "argv", ["ablate", *WORDS, "measure=false"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # main hears no second one
    with pytest.raises(SystemExit) as stopped:
        main("ablate", ABOUT, run_command)
    assert stopped.value.code == 130
    assert "the same command goes on" in capsys.readouterr().out


MISTAKES = [
    (["ablations=[relu,rleu]"], "unknown ablations 'rleu'; did you mean relu?"),
    (["ablations=[]"], "ablations=[] asks for nothing: allowed are no_residual"),
    (["seeds=1"], "seeds must be a whole number from 2, not 1"),
    (["ablations=[relu6,no_se]"], "none of ablations=[relu6,no_se] changes mine: ask for others"),
    (["arch=mobilenet_v5"], "unknown network 'mobilenet_v5'"),
    (["budget=transfer"], "budget.norms=frozen"),
    (["latency.precision=int8", "measure=true"], "latency.precision=int8 is not for nas.ablate"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_a_mistake_is_one_line_and_leaves_nothing(words, message, here, tmp_path):
    with pytest.raises(UserError) as error:
        here(*words)
    assert message in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml"}


def test_trainings_are_those_of_the_other_commands():
    data = load_data("embedded", train=100, val=50, test=60)
    budget = Budget(1, batch_size=50, augment=False, precision="fp32")
    row = PairedTraining(data, budget, "cpu")(SMALL, 3)
    test = Scratch(data, budget, "cpu", seed=3)(SMALL).test
    assert (row["accuracy"], row["cross_entropy"]) == (test.accuracy, test.cross_entropy)
    assert right_answers(row).shape == (60,)
    assert right_answers(row).mean() == pytest.approx(test.accuracy)


def test_variants_are_compared_image_by_image():
    draws = np.random.default_rng(0)

    def training(share):
        right = draws.random(83) < share
        bits = np.packbits(right).tobytes().hex()
        row = {"right": bits, "num_images": 83, "cross_entropy": 1.0, "seconds": 1.0}
        return row, right.astype(float)

    base, variant = ([training(share) for _ in range(3)] for share in (0.7, 0.6))
    found = compared([row for row, _ in variant], [row for row, _ in base])
    want = paired_interval(np.stack([v for _, v in variant]) - np.stack([b for _, b in base]))
    ends = (found["difference"], found["difference_low"], found["difference_high"])
    assert ends == (want.value, want.low, want.high)


def test_fewer_images_are_even_over_the_classes():
    data = load_data("embedded", train=500, val=50, test=60)
    few = with_fewer_images(data, 100)
    assert torch.bincount(few.train.labels).tolist() == [10] * 10
    assert few.test is data.test
    for number in (None, 500, 9999):
        assert with_fewer_images(data, number) is data


def test_settings_are_checked_however_they_are_made():
    given = AblateSettings.of("ablations=relu")
    assert given.names == ["relu"]
    with pytest.raises(UserError, match="seeds must be"):
        replace(given, seeds=0)
