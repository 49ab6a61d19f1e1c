"""The training command: from scratch, from weights, killed, and what it leaves."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.operators import network_id
from nas.arch.scaling import for_resolution
from nas.arch.serialization import dumps, load
from nas.core.cli import main
from nas.core.config import Component
from nas.core.errors import UserError
from nas.data.dataset import load_data
from nas.network.modules import build
from nas.network.pretrained import PRETRAINED
from nas.train.__main__ import ABOUT, run
from nas.train.report import Outcome, print_outcome
from nas.train.run import train
from nas.train.settings import TrainSettings
from nas.train.setup import (
    fit_batch,
    input_resolution,
    network_for,
    pretrained_source,
    record_config,
)
from nas.training.evaluation import Score
from nas.training.first_weights import FirstWeights
from nas.training.loop import Budget, History
from search_spaces.lookup import PUBLISHED

SMALL = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=1, classes=10)
FEW = ("data.train=200", "data.val=100", "data.test=100", "latency.max_seconds=0.05")
MINE = ("arch=mine.yaml", "budget.epochs=3", *FEW)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """A function that runs the command in this process and tells what it printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))

    def ran(*words):
        returned = train(TrainSettings.of(*words))
        summaries = tmp_path.glob("results/train/*/summary.json")
        newest = max(summaries, key=lambda path: path.stat().st_mtime_ns)
        assert json.loads(json.dumps(returned)) == json.loads(newest.read_text())
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
    assert f"(test {summary['test']['accuracy']:.1%}" in out
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


def test_classes_without_test_images_are_not_among_the_weakest():
    scores = dict.fromkeys(("val", "test"), Score(0.5, 0.1, 0.7, 0.1, 4))
    by_class = pd.DataFrame({"class": ["a", "b", "c"], "test_accuracy": [0.5, np.nan, 0.25]})
    outcome = Outcome(History(()), scores, by_class, None, 1000, 0.0)
    print_outcome(console := Console(record=True), "none", outcome)
    assert "weakest   c 25%, a 50% (of" in console.export_text()


def test_pictures_of_many_bits_in_folders_of_any_name(here, tmp_path):
    """What the model's metadata say of its inputs, and labels that break no line."""
    names = ["caf\udce9", 'a "b"\n', "=1+1 ", "x, 😀"]
    for place, name in enumerate(names):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(6):
            values = np.random.default_rng(6 * place + index).integers(0, 4096, (20, 20), np.uint16)
            file = tmp_path / "pictures" / name / f"{index}\n\udcff.png"
            Image.fromarray(values).save(file)
    out = here("arch=mine.yaml", "budget.epochs=1", "data=folder", "data.root=pictures")
    folder = tmp_path / "results" / "train" / "mine"
    facts = {p.key: json.loads(p.value) for p in onnx.load(folder / "model.onnx").metadata_props
             if p.key in ("classes", "range")}  # fmt: skip
    labels = ["=1+1 ", r'a "b"\n', r"caf\udce9", "x, 😀"]
    summary = json.loads((folder / "summary.json").read_text())
    assert facts["classes"] == summary["classes"] == labels
    assert pd.read_csv(folder / "classes.csv")["class"].tolist() == labels
    assert facts["range"] == summary["range"]
    assert facts["range"] == pytest.approx([0, 4095], abs=10)
    assert r'4 classes (=1+1 , a "b"\n, caf\udce9, ...) · values' in out


def test_a_second_call_goes_on_and_other_settings_are_refused(here, tmp_path):
    first = here(*MINE)
    folder = tmp_path / "results" / "train" / "mine"
    before = torch.load(folder / "weights.pt", weights_only=True)
    history = (folder / "history.csv").read_text()
    again = here(*MINE)
    assert (folder / "history.csv").read_text() == history  # the seconds of the same trainings
    assert [li for li in again.splitlines() if li.startswith("accuracy")] == [
        li for li in first.splitlines() if li.startswith("accuracy")
    ]
    after = torch.load(folder / "weights.pt", weights_only=True)
    assert all(torch.equal(before[key], after[key]) for key in before)
    with pytest.raises(UserError, match=r"began with other settings \(seed: 1 here, 0 there"):
        here(*MINE, "seed=1")
    assert "mine2" in here(*MINE, "seed=1", "run=mine2")


def test_a_training_does_not_go_on_with_another_file_of_weights(tmp_path):
    file, checkpoint = tmp_path / "mine.pt", tmp_path / "checkpoint.pt"
    file.write_bytes(b"one")
    settings = TrainSettings.of("arch=mobilenet_v2", "weights=file", f"weights.path={file}")
    made = SimpleNamespace(
        settings=settings, folder=tmp_path, checkpoint=checkpoint, arch=SMALL, task=None,
        data=SimpleNamespace(fingerprint="a"), weights=FirstWeights(str(file), None),
    )  # fmt: skip
    record_config(made, settings.data)
    checkpoint.touch()
    record_config(made, settings.data)
    file.write_bytes(b"two")
    with pytest.raises(UserError, match=r"other settings \(weights_sha256: \w+ here, \w+ there"):
        record_config(made, settings.data)


def test_ctrl_c_keeps_whole_epochs(tmp_path):
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    words = [sys.executable, "-m", "nas.train", *MINE, "budget.epochs=60", "data.train=2000"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    checkpoint = tmp_path / "results" / "train" / "mine" / "checkpoint.pt"
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        deadline = time.monotonic() + 240
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "whole epochs are kept; the same command goes on" in out
    assert "Traceback" not in err
    assert not (checkpoint.parent / "summary.json").exists()
    done = torch.load(checkpoint, weights_only=True)["epochs"]
    assert 0 < len(done) < 60


def logits(folder, side=20):
    image = np.linspace(-1, 1, side * side, dtype=np.float32).reshape(1, 1, side, side)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return session.run(None, {"image": image})[0][0]


def test_own_weights_start_another_training(here, tmp_path):
    """With steps of nothing and no time for the norms the answers are the same."""
    here(*MINE)
    folder = tmp_path / "results" / "train"
    still = ("budget.epochs=1", "budget.optimizer=sgd", "budget.lr=1e-12", "run=again")
    text = (folder / "mine" / "network.yaml").read_text()
    (tmp_path / "still.yaml").write_text(f"bn_momentum: 1.0e-12\n{text}")
    path = "weights.path=results/train/mine/weights.pt"
    out = here("arch=still.yaml", "weights=file", path, *still, *FEW)
    assert "anew" not in out
    assert "ridge" not in out, "a classifier that the file has is kept"
    assert "mean and spread as results/train/mine/summary.json says" in out
    assert logits(folder / "again") == pytest.approx(logits(folder / "mine"), abs=1e-4)
    summaries = [json.loads((folder / n / "summary.json").read_text()) for n in ("mine", "again")]
    assert summaries[0]["mean"] == summaries[1]["mean"]


def test_for_other_classes_the_classifier_begins_anew(here, tmp_path):
    (tmp_path / "seven.yaml").write_text(dumps(replace(SMALL, classes=7)))
    state = build(replace(SMALL, classes=7)).state_dict()
    torch.save({"model": state, "model_ema": state}, tmp_path / "seven.pt")
    file = ("weights=file", "weights.path=seven.pt", "weights.key=model_ema")
    out = here("arch=seven.yaml", *file, *FEW, "budget.epochs=1")
    assert "seven.pt · model_ema · anew: classifier" in out
    assert "since nobody tells those of the weights" in out
    (start,) = re.findall(r"start +the classifier by ridge regression: (\S+)% of the", out)
    assert float(start) > 15  # of ten classes, by features that nobody trained
    summary = json.loads((tmp_path / "results/train/seven/summary.json").read_text())
    assert len(summary["classes"]) == 10


def test_a_latency_that_fails_costs_no_training(here, tmp_path):
    out = here(*MINE[:2], *FEW[:3], "latency=command", "latency.command='false {onnx}'")
    assert "latency   none: " in out
    summary = json.loads((tmp_path / "results/train/mine/summary.json").read_text())
    assert summary["latency_ms"] is None
    assert summary["test"]["num_images"] == 100


def test_of_few_images_a_batch_is_a_part(here):
    budget = Budget(10, 32, "adamw", 1e-3)
    assert fit_batch(budget, 10_000) == budget
    assert fit_batch(budget, 160) == replace(budget, batch_size=10)
    assert fit_batch(budget, 58) == replace(budget, batch_size=8)
    sgd = Budget(10, 64, "sgd", 0.1)
    assert fit_batch(sgd, 256) == replace(sgd, batch_size=16, lr=0.025)
    with pytest.raises(UserError, match="nothing to count"):
        fit_batch(replace(sgd, batch_size=1), 99)


def test_a_name_may_tell_what_the_weights_have_anyway():
    def asked(arch, **more):
        settings = replace(TrainSettings.of(f"arch={arch}", "weights=pretrained"), **more)
        source = pretrained_source(settings)
        return source.name, input_resolution(settings, source)

    assert asked("mobilenet_v2_1.0") == ("mobilenet_v2", 224)
    assert asked("mobilenet_v2_1.0_160") == ("mobilenet_v2", 160)
    assert asked("mobilenet_v2_1.4", resolution=96) == ("mobilenet_v2_1.4", 96)
    assert asked("efficientnet_b2") == ("efficientnet_b2", 288)
    folder = Component("folder", {"name": "folder", "root": "x", "resolution": 48})
    assert asked("mobilenet_v2", data=folder) == ("mobilenet_v2", 48)


def test_a_network_from_a_file_has_the_side_that_is_given(tmp_path):
    (tmp_path / "mine.yaml").write_text(dumps(replace(PUBLISHED["mobilenet_v2"], resolution=28)))
    for words, side in ((), 28), (("data.resolution=56",), 56), (("resolution=40",), 40):
        settings = TrainSettings.of(f"arch={tmp_path}/mine.yaml", *words)
        data = load_data("embedded", train=50, val=20, test=20)
        assert network_for(settings, settings.resolution, data)[0].resolution == side, words


def test_with_published_weights_a_network_keeps_its_own_constants_and_side(tmp_path):
    settings = TrainSettings.of("arch=tf_efficientnet_lite0", "weights=pretrained")
    data = load_data("embedded", train=50, val=20, test=20)
    source = PRETRAINED["tf_efficientnet_lite0"]
    assert pretrained_source(settings) is source
    arch, origin = network_for(settings, input_resolution(settings, source), data)
    published = PUBLISHED["tf_efficientnet_lite0"]
    assert origin == "published"
    assert (arch.bn_eps, arch.padding, arch.resolution) == (1e-3, "same", 224)
    assert arch.bn_momentum == 0.1 > published.bn_momentum
    assert (arch.channels, arch.classes) == (1, 10)
    assert arch.head.dropout == published.head.dropout
    at_64 = replace(settings, resolution=64)
    small, _ = network_for(at_64, input_resolution(at_64, source), data)
    assert small.stages == published.stages, "a last map of two pixels is answered on"
    at_32 = replace(settings, resolution=32)
    smaller, _ = network_for(at_32, input_resolution(at_32, source), data)
    assert smaller.stages == for_resolution(published, 32, 2).stages != published.stages
    assert settings.budget.name == "transfer"  # weights bring a budget of their own
    mean, std, _ = FirstWeights(None, source).stats(data)
    assert mean == pytest.approx((sum(source.mean) / 3,))
    assert std == pytest.approx((sum(source.std) / 3,))
    (tmp_path / "summary.json").write_text('{"mean": [0.1, 0.2, 0.3], "std": [0.2, 0.3, 0.4]}')
    (tmp_path / "weights.pt").touch()
    ours = FirstWeights(str(tmp_path / "weights.pt"), source)
    mean, std, origin = ours.stats(data)  # a run's own before the published
    assert (mean, std) == (pytest.approx((0.2,)), pytest.approx((0.3,)))
    assert origin.endswith("summary.json says")
    (tmp_path / "front").mkdir()  # of a search, whose run's summary is one above
    of_front = FirstWeights(str(tmp_path / "front" / "02.pt"), source)
    assert of_front.stats(data) == ours.stats(data)
    odd = ([], [0.5, 0.5], [0.5] * 2 + [math.nan], [0.5, 0.5, -0.1], [0.5, 0.5, 58.4], [True] * 3)
    bad = [{key: value} for key in ("mean", "std") for value in (*odd, "123", None, 3)]
    fine = {"mean": [0.5] * 3, "std": [0.2] * 3}
    texts = [json.dumps(fine | known) for known in (*bad, {"std": [0.2, 0.2, 0.0]})]
    for text in (*texts, "{", "", "[1]", "null", '{"mean": [], "std": []}'):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(UserError, match=r"summary\.json beside .* damaged: .*remove it$") as e:
            ours.stats(data)
        assert "\n" not in str(e.value)
    (tmp_path / "summary.json").unlink()
    assert ours.stats(data)[0] == pytest.approx((sum(source.mean) / 3,))
    unknown = replace(ours, pretrained=None)
    assert unknown.stats(data)[:2] == (data.mean, data.std)


def test_settings_made_directly_are_checked_too():
    settings = TrainSettings.of("arch=mobilenet_v2")
    pretrained = TrainSettings.of("arch=mobilenet_v2", "weights=pretrained").weights
    with pytest.raises(UserError, match="seed must be a whole number"):
        replace(settings, seed=-1)
    with pytest.raises(UserError, match="for a published network, not for arch=mine"):
        replace(settings, arch="mine.yaml", weights=pretrained)
    with pytest.raises(UserError, match="unknown weights 'mine'"):
        replace(settings, weights=Component("mine", {"path": None}))


def test_another_tools_summary_beside_the_weights_is_passed_over(tmp_path):
    images = SimpleNamespace(channels=1, mean=(0.4,), std=(0.2,))
    weights = FirstWeights(str(tmp_path / "weights.pt"), None, None)
    (tmp_path / "summary.json").write_text('{"accuracy": 0.8, "epochs": 30}')
    assert weights.stats(images).mean == (0.4,)
    (tmp_path / "summary.json").write_text('{"mean": [0.8]}')
    with pytest.raises(UserError, match="is damaged: mean and std must be lists"):
        weights.stats(images)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["arch=mobilnet_v2"], "mobilnet_v2"),
        (["arch=mine.yaml", "weights=pretrained"], "for a published network, not for arch=mine"),
        (["weights=pretrained"], "needs a published network: give arch=mobilenet_v2"),
        (["arch=mine.yaml", "weights=pretrained"], "not for arch=mine.yaml: name one"),
        (["arch=."], "arch=. is a folder: give arch=./winner.yaml"),
        (["arch=mine.yaml", "run=a/b"], "run must be a name of letters, digits, "),
        (["arch=nas_bench_macro_22212220", "weights=pretrained"], "network with published weights"),
        (["arch=mine.yaml", "weights=file", "weights.path=none.pt"], "none.pt"),
        (["arch=mine.yaml", "weights=file"], "weights.path must be given"),
        (["arch=mine.yaml", "weights=file", "weights.path=5"], "weights.path=5 is no file"),
        (["arch=mine.yaml", "weights=file", "weights.path=null"], "weights.path=None is no file"),
        (["arch=mine.yaml", "weights.path=mine.pt"], "needs weights=file"),
        (["arch=mine.yaml", "weights.key=model_ema"], "weights.key=model_ema needs weights=file"),
        (["arch=mine.yaml", "budget.batch_size=1"], "norms nothing to count"),
        (
            ["arch=mine.yaml", "weights=none", "budget.norms=frozen"],
            "budget.norms is of budget=dense, qat, transfer, and budget=standard is chosen",
        ),
        (["weights=none", "+budget.norms=frozen"], "and there are none: give"),
        (["arch=mine.yaml", "budget=transfer"], "and there are none: give budget.norms=batch, or"),
        (["arch=mobilenet_v2", "weights=pretrained", "budget.norms=warm"], "budget.norms 'warm'"),
        (["arch=mine.yaml", "resolution=0"], "resolution must be a whole number"),
        (["arch=mine.yaml", "measure=2"], "measure must be true or false"),
        (
            ["arch=mine.yaml", "measure=true", "latency.precision=int8"],
            "latency.precision=int8 is not for nas.train",
        ),
        (["arch=mine.yaml", "seed=null"], "seed must be a whole number"),
        (["arch=mine.yaml", "device=tpu"], "tpu"),
        (["arch=mine.yaml", "budget.lr=1e9", "budget.clip_norm=0"], "cannot be trained like this"),
    ],
)
def test_mistakes_get_one_line(here, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["train", *words, *FEW])
    with pytest.raises(SystemExit) as stop:
        main("train", ABOUT, run)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m nas.train: ")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("results/train/*/summary.json"))
