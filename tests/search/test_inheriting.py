"""A search that begins with a trained network's weights, end to end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from nas.accuracy.inheritance_worker import InheritanceWorker
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import network_id
from nas.arch.serialization import dumps, load
from nas.core.errors import UserError
from nas.export.run import export
from nas.export.settings import ExportSettings
from nas.inheritance.files import load_tensors
from nas.network.modules import build
from nas.search.run import search
from nas.search.settings import SearchSettings
from nas.training.evaluation import paired_difference

MINE = Arch(
    (Stage(16, 2, 2, Block(kernel=5, expand=4)), Stage(24, 2, 2, Block(expand=6, act="hswish"))),
    Stem(8), Head(32), resolution=48, channels=3, classes=1000, name="mine",
)  # fmt: skip
WORDS = (
    "weights=file", "weights.path=mine.pt", "arch=mine.yaml", "resolutions=[48,32]",
    "data.train=60", "data.val=40", "data.test=40", "budget.epochs=1", "precision=fp32",
    "trials=6", "workers=1", "target=0.05", "table.blocks=40", "table.calibrate=4",
    "table.validate=4", "table.repeat=0", "latency.min_rounds=6", "latency.max_seconds=0.01",
)  # fmt: skip
GIVEN = tuple(word for word in WORDS if not word.startswith("precision"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a network's file and weights, and a latency table that all runs share."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mine.yaml").write_text(dumps(MINE))
    torch.save(build(MINE, 0).state_dict(), folder / "mine.pt")
    return folder


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


@pytest.fixture(scope="module")
def first(home):
    """One search, whole: its summary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return search(SearchSettings.of(*GIVEN))


def test_every_network_of_the_front_is_ready_to_use(here, first):
    root = here / "results" / "search" / "mine"
    front = first["front"]
    assert len(front) == len(list((root / "front").glob("*.onnx")))
    for number, row in enumerate(front, 1):
        file = root / "front" / f"{number:02d}"
        arch = load(file.with_suffix(".yaml"))
        assert network_id(arch) == row["id"]
        net = build(arch)
        net.load_state_dict(torch.load(file.with_suffix(".pt"), weights_only=True))
        image = torch.randn(1, 1, arch.resolution, arch.resolution)
        session = onnxruntime.InferenceSession(file.with_suffix(".onnx"))
        answer = session.run(None, {"image": image.numpy()})[0]
        with torch.inference_mode():
            assert answer == pytest.approx(net.eval()(image).numpy(), abs=1e-3)
    winner = load(root / "winner.yaml")
    assert network_id(winner) == first["winner"]["id"]
    assert (root / "winner.onnx").stat().st_size > 1000


def test_its_winner_is_exported_as_it_lies(here, first):
    summary = export(ExportSettings.of("arch=results/search/mine"))
    assert summary["id"] == first["winner"]["id"]
    assert summary["same_data"]
    card = (here / "results" / "export" / "mine-winner" / "model.md").read_text()
    assert "Trained on 60 images" in card
    assert "First weights: a file of yours" in card


def test_it_is_compared_with_what_one_would_do_otherwise(here, first):
    """The differences are paired over the test images, and recomputed here from what is kept."""
    root = here / "results" / "search" / "mine"
    rows = first["compared"]
    assert {row["role"] for row in rows} == {"reference", "control"}
    assert any(row["name"].startswith("mine.yaml at") for row in rows)
    equal = [row for row in rows if row["name"] == "equal ratios"]
    assert all(row["latency_ms"] <= first["winner"]["latency_ms"] for row in equal)
    ours = load_tensors(root / "weights" / f"{first['winner']['id']}-finish.pt")
    for row in rows:
        task = "baseline" if row["role"] == "reference" else "finish"
        theirs = load_tensors(root / "weights" / f"{row['id']}-{task}.pt")["test_correct"]
        assert len(theirs) == 40
        assert theirs.double().mean().item() == pytest.approx(row["test_accuracy"])
        expected = paired_difference(ours["test_correct"], theirs)
        assert (row["gain"], row["gain_se"]) == pytest.approx(expected)


def test_blocks_are_drawn_with_what_was_chosen(here, first):
    root = here / "results" / "search" / "mine"
    blocks = pd.read_csv(root / "blocks.csv")
    chosen = blocks[blocks["chosen"]]
    assert len(chosen) == 4  # one a block
    assert chosen["side"].nunique() == 1
    assert (blocks.loc[blocks["own"], "nats"] == 0).all()
    assert "before and after" in (root / "report.html").read_text()


@pytest.mark.parametrize("task", ["study", "finish"])
def test_a_run_that_is_killed_goes_on_to_the_same_winner(here, first, monkeypatch, task):
    shutil.copytree(here / "results" / "latency", here / task / "latency")
    settings = SearchSettings.of(*GIVEN, f"results={task}")
    step, calls = getattr(InheritanceWorker, f"_{task}"), []

    def killed(self, arch):
        calls.append(arch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(self, arch)

    with monkeypatch.context() as patch:
        patch.setattr(InheritanceWorker, f"_{task}", killed)
        with pytest.raises(KeyboardInterrupt):
            search(settings)
    assert_alike(here / task / "search" / "mine")
    again = search(settings)
    assert again["winner"]["id"] == first["winner"]["id"]
    one, other = (
        torch.load(here / folder / "search" / "mine" / "winner.pt", weights_only=True)
        for folder in (task, "results")
    )
    assert all(torch.equal(one[key], other[key]) for key in other)


def assert_alike(root):
    """Whatever an interrupted search has of its winner is of one network."""
    summary = json.loads((root / "summary.json").read_text())
    assert summary["mean"]
    assert (root / "winner.pt").exists() == bool(summary["winner"])
    if summary["winner"]:
        winner = load(root / "winner.yaml")
        assert network_id(winner) == summary["winner"]["id"]
        build(winner).load_state_dict(torch.load(root / "winner.pt", weights_only=True))
    assert len(list((root / "front").glob("*.pt"))) == len(summary["front"])


def test_a_second_target_costs_its_own_trainings_only(here, first, monkeypatch):
    def never(self, arch):
        raise AssertionError("done before")

    for task in ("train", "study"):
        monkeypatch.setattr(InheritanceWorker, f"_{task}", never)
    slow = first["front"][-1]["latency_ms"]
    second = search(SearchSettings.of(*GIVEN, f"target={slow * 1.01:.5f}"))
    for key, seconds in first["prepared"].items():
        assert second["prepared"][key] == seconds
    assert second["winner"]["latency_ms"] <= slow * 1.01


def test_weights_imply_space_judge_and_sides(here):
    settings = SearchSettings.of("weights=pretrained", "arch=tf_efficientnet_lite0")
    assert (settings.space.name, settings.accuracy.name) == ("inherited", "inherited")
    assert settings.resolutions == (96, 64)
    assert np.isinf(settings.limit.latency_ms)
    wide = SearchSettings.of("weights=pretrained", "arch=mobilenet_v2", "data=folder",
                             "data.root=x", "data.resolution=224")  # fmt: skip
    assert wide.resolutions == (224, 160)


def test_the_folder_of_a_training_is_a_network_with_weights(here):
    folder = here / "results" / "train" / "x"
    folder.mkdir(parents=True)
    shutil.copy(here / "mine.yaml", folder / "network.yaml")
    shutil.copy(here / "mine.pt", folder / "weights.pt")
    settings = SearchSettings.of("weights=file", f"arch={folder}")
    assert settings.accuracy.arguments["path"] == str(folder / "weights.pt")
    assert settings.space.arguments["arch"] == str(folder / "network.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["weights=pretrained"], "arch must be given with weights"),
        (["weights=pretrained", "arch=mobilenet_v9"], "no weights are published for mobilenet_v9"),
        (["weights=pretrained", "arch=mobilenet_v1"], "no weights are published for mobilenet_v1"),
        (["weights=file", "arch=mobilenet_v2"], "weights.path must be given: weights.path=..."),
        (["weights=file", "arch=mobilenet_v2", "weights.path=no.pt"], "there is no file no.pt"),
        (["arch=mobilenet_v2"], "arch= and resolutions= are for a search that inherits"),
        (["space=inherited"], "space=inherited does not go with weights=none"),
        ([*GIVEN, "limit.min_latency_ms=1"], "min_latency_ms=1 is not for a search with weights"),
        ([*GIVEN, "references=[mobilenet_v1_0.25]"], "no weights are published for mobilenet_v1_0"),
        ([*GIVEN, "random=9"], "random=9 is not for a search with weights"),
        ([*GIVEN, "sampler=tpe"], "sampler=tpe is not for a search with weights"),
        ([*GIVEN, "sampler.objective=mnas"], "objective=mnas is not for a search with weights"),
        (["weights=pretrained", "arch=mobilenet_v2", "space=mbconv"], "space=mbconv does not go"),
        (["weights=pretrained", "arch=mobilenet_v2", "resolutions=[]"], "must hold a side"),
        (["weights=pretrained", "arch=mobilenet_v2", "resolutions=[8]"], "whole numbers from 32"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(here, words, message):
    with pytest.raises(UserError, match=message) as caught:
        search(SearchSettings.of(*words))
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_refused_before_anything_is_made(here):
    torch.save(build(replace(MINE, head=Head(40)), 0).state_dict(), here / "other.pt")
    words = [word for word in GIVEN if not word.startswith("weights.path")]
    with pytest.raises(UserError, match=r"head\S* holds 40x24.* network that it was made for"):
        search(SearchSettings.of(*words, "weights.path=other.pt", "run=other"))
    assert not (here / "results" / "search" / "other").exists()


def test_a_run_does_not_go_on_with_another_file_of_weights(here, first):
    kept = (here / "mine.pt").read_bytes()
    torch.save(build(MINE, 1).state_dict(), here / "mine.pt")
    with pytest.raises(UserError, match=r"weights_sha256: \w+ here, \w+ there"):
        search(SearchSettings.of(*GIVEN))
    (here / "mine.pt").write_bytes(kept)


def test_a_search_says_which_weights_it_took(here, capsys):
    state = build(MINE, 0).state_dict()
    torch.save({"model": state, "model_ema": state}, here / "two.pt")
    words = [word for word in GIVEN if not word.startswith("weights.path")]
    with pytest.raises(UserError, match="out of reach"):  # which is checked later
        search(SearchSettings.of(*words, "weights.path=two.pt", "run=two", "target=1e-9"))
    assert (
        "weights   two.pt · model, not model_ema (weights.key= chooses)" in capsys.readouterr().out
    )


def test_a_study_in_a_database_goes_on_where_its_weights_are_not(here, first, tmp_path):
    """What was trained on for all others is trained again; what was judged is not."""
    words = (*GIVEN, "run=stored", f"storage=sqlite:///{tmp_path}/study.db")
    search(SearchSettings.of(*words, "trials=3"))
    summary = search(SearchSettings.of(*words, f"results={tmp_path}"))
    assert summary["evaluated"] == first["evaluated"]
    assert summary["winner"]["id"] == first["winner"]["id"]
    assert [row["role"] for row in summary["compared"]] == [
        row["role"] for row in first["compared"]
    ]
    fronts = tmp_path / "search" / "stored" / "front"
    assert len(list(fronts.glob("*.onnx"))) == len(summary["front"])
