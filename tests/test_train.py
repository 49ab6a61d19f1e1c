"""The training command: from scratch, from weights, killed, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch

from nas.arch import Arch, Head, Stage, Stem, dumps, load
from nas.blocks import network_id
from nas.cli import compose, main, plain
from nas.compound import for_resolution
from nas.data import load_data
from nas.errors import UserError
from nas.network import build
from nas.pretrained import PRETRAINED
from nas.train import ABOUT, train_one
from nas.train_plan import checked, network_for, normalisation, side_of, source_of
from search_spaces.published import PUBLISHED

SMALL = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=1, classes=10)
FEW = ("data.train=200", "data.val=100", "data.test=100", "latency.max_seconds=0.05")
MINE = ("arch=mine.yaml", "budget.epochs=3", *FEW)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """A function that runs the command in this process and tells what it printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))

    def ran(*words):
        train_one(compose("train", list(words)))
        return capsys.readouterr().out

    return ran


def test_it_leaves_a_network_ready_to_use(here, tmp_path):
    """The ONNX model alone, by its metadata, scores what the summary says."""
    out = here(*MINE)
    folder = tmp_path / "results" / "train" / "mine"
    summary = json.loads((folder / "summary.json").read_text())
    model = onnx.load(folder / "model.onnx")
    facts = {p.key: p.value for p in model.metadata_props}
    classes, mean, std = (json.loads(facts[key]) for key in ("classes", "mean", "std"))
    data = load_data("embedded", train=200, val=100, test=100)
    assert classes == list(data.classes) == summary["classes"]
    images = torch.nn.functional.interpolate(
        data.test.images.float() / 255, (20, 20), mode="bicubic", antialias=True
    )
    inputs = ((images.numpy() - mean[0]) / std[0]).astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    answers = [session.run(None, {"image": image[None]})[0].argmax() for image in inputs]
    right = float((np.array(answers) == data.test.labels.numpy()).mean())
    assert right == pytest.approx(summary["test"]["accuracy"], abs=0.011)  # one of 100 images
    assert f"test {right:.1%}" in out or abs(right - summary["test"]["accuracy"]) > 1e-9
    assert network_id(load(folder / "network.yaml")) == summary["id"]
    net = build(load(folder / "network.yaml"))
    net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    history = pd.read_csv(folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["val_accuracy"].iloc[-1] == pytest.approx(summary["val"]["accuracy"], abs=0.011)
    by_class = pd.read_csv(folder / "classes.csv")
    assert by_class["test_images"].sum() == 100
    share = np.average(by_class["test_accuracy"], weights=by_class["test_images"])
    assert share == pytest.approx(summary["test"]["accuracy"])
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["seed"] == 0
    assert environment["versions"]["torch"]


def test_a_second_call_goes_on_and_other_settings_are_refused(here, tmp_path):
    first = here(*MINE)
    folder = tmp_path / "results" / "train" / "mine"
    before = torch.load(folder / "weights.pt", weights_only=True)
    again = here(*MINE)
    assert "\ntrain " in first
    assert "\ntrain " not in again
    assert [li for li in again.splitlines() if li.startswith("accuracy")] == [
        li for li in first.splitlines() if li.startswith("accuracy")
    ]
    after = torch.load(folder / "weights.pt", weights_only=True)
    assert all(torch.equal(before[key], after[key]) for key in before)
    with pytest.raises(UserError, match=r"began with other settings \(seed: 1 here, 0 there"):
        here(*MINE, "seed=1")
    assert "mine2" in here(*MINE, "seed=1", "run=mine2")


def test_ctrl_c_keeps_whole_epochs(tmp_path):
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    words = [sys.executable, "-m", "nas.train", *MINE, "budget.epochs=60", "data.train=2000"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    checkpoint = tmp_path / "results" / "train" / "mine" / "checkpoint.pt"
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        for _ in range(600):
            if checkpoint.exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "whole epochs are kept; the same command goes on" in out
    assert "Traceback" not in err
    assert not (checkpoint.parent / "summary.json").exists()
    done = torch.load(checkpoint, weights_only=True)["epochs"]
    assert 0 < len(done) < 60


def test_own_weights_start_another_training_and_new_classes_a_new_classifier(here, tmp_path):
    here(*MINE)
    path = "weights.path=results/train/mine/weights.pt"
    out = here("arch=results/train/mine/network.yaml", "weights=file", path, "budget.epochs=1",
               "budget.lr=1e-9", "run=again", *FEW)  # fmt: skip
    assert "anew" not in out
    folder = tmp_path / "results" / "train"
    scores = [json.loads((folder / n / "summary.json").read_text()) for n in ("mine", "again")]
    assert scores[1]["val"]["accuracy"] == pytest.approx(scores[0]["val"]["accuracy"], abs=0.05)


def test_with_published_weights_a_network_keeps_its_own_constants_and_side(monkeypatch):
    settings = plain(compose("train", ["arch=tf_efficientnet_lite0", "weights=pretrained"]))
    data = load_data("embedded", train=50, val=20, test=20)
    source = PRETRAINED["tf_efficientnet_lite0"]
    assert source_of(settings) is source
    arch, origin = network_for(checked(settings), side_of(settings, source), data)
    published = PUBLISHED["tf_efficientnet_lite0"]
    assert origin == "published"
    assert (arch.bn_eps, arch.padding, arch.resolution) == (1e-3, "same", 224)
    assert arch.bn_momentum == 0.1 > published.bn_momentum
    assert (arch.channels, arch.classes) == (1, 10)
    assert arch.head.dropout == published.head.dropout
    small, _ = network_for(settings, side_of({**settings, "resolution": 64}, source), data)
    assert small.stages == for_resolution(published, 64).stages
    assert settings["choices"]["budget"] == "transfer"  # weights bring a budget of their own
    mean, std = normalisation(data, source)
    assert mean == pytest.approx((sum(source.mean) / 3,))
    assert std == pytest.approx((sum(source.std) / 3,))
    assert normalisation(data, None) == (data.mean, data.std)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["arch=mobilnet_v2"], "mobilnet_v2"),
        (["arch=mine.yaml", "weights=pretrained"], "for a published network, not for arch=mine"),
        (["weights=pretrained"], "name one"),
        (["arch=nas_bench_macro_22212220", "weights=pretrained"], "network with published weights"),
        (["arch=mine.yaml", "weights=file", "weights.path=none.pt"], "none.pt"),
        (["arch=mine.yaml", "weights=file"], "weights.path must be given"),
        (["arch=mine.yaml", "resolution=0"], "resolution must be a whole number"),
        (["arch=mine.yaml", "measure=2"], "measure must be true or false"),
        (["arch=mine.yaml", "seed=null"], "seed must be a whole number"),
        (["arch=mine.yaml", "device=tpu"], "tpu"),
        (["arch=mine.yaml", "budget.lr=1e9", "budget.clip_norm=0"], "cannot be trained like this"),
    ],
)
def test_mistakes_get_one_line(here, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["train", *words, *FEW])
    with pytest.raises(SystemExit) as stop:
        main("train", train_one, ABOUT)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m nas.train: ")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("results/train/*/summary.json"))
