"""A search for boxes, or for masks: from weights to a front of models that answer by themselves."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from annotated_files import WRITERS

from nas.accuracy import inheritance_worker
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import network_id
from nas.arch.serialization import dumps, load
from nas.core.errors import UserError
from nas.export.run import export
from nas.export.settings import ExportSettings
from nas.inheritance.files import load_tensors
from nas.network.modules import build
from nas.search.inherited_report import gain_over
from nas.search.run import search
from nas.search.settings import SearchSettings
from nas.train.run import train
from nas.train.settings import TrainSettings

DENSE = Path(__file__).parent.parent / "dense"

# strides 8, 16 and 32, and a block in each that can shrink
MINE = Arch(
    (Stage(16, 1, 2, Block(expand=2)), Stage(16, 2, 2, Block(expand=4)),
     Stage(24, 2, 2, Block(kernel=5, expand=4)), Stage(24, 2, 2, Block(expand=4, act="hswish"))),
    Stem(8), Head(32), resolution=64, channels=3, classes=1000, name="mine",
)  # fmt: skip
WORDS = (
    "weights=file", "weights.path=mine.pt", "arch=mine.yaml", "resolutions=[64]", "device=cpu",
    "budget.epochs=1", "budget.precision=fp32", "trials=4", "workers=1", "table.blocks=60",
    "table.calibrate=4", "table.validate=4", "table.repeat=0", "latency.min_rounds=6",
    "latency.max_seconds=0.01",
)  # fmt: skip
TASKS = {"detection": "coco", "segmentation": "masks"}


def words_of(task: str) -> tuple[str, ...]:
    return (f"task={task}", f"data={TASKS[task]}", f"data.root={TASKS[task]}", *WORDS)


@pytest.fixture(scope="module", params=TASKS)
def done(request, tmp_path_factory):
    """One search, whole: the task, its summary, and where it was made."""
    if request.param == "detection":
        pytest.importorskip("faster_coco_eval", reason="needs pip install -e '.[detection]'")
    folder = tmp_path_factory.mktemp("home")
    WRITERS[TASKS[request.param]](folder / TASKS[request.param])
    (folder / "mine.yaml").write_text(dumps(MINE))
    torch.save(build(MINE, 0).state_dict(), folder / "mine.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, number in (("NUM_STUDIED", 30), ("NUM_REFITTED", 20), ("NUM_SCORED", 4)):
            patch.setattr(inheritance_worker, name, number)
        target = f"target={target_of(request.param)}"
        summary = search(SearchSettings.of(*words_of(request.param), target))
    return request.param, summary, folder


def target_of(task: str) -> float:
    """Milliseconds that some networks of the space are within, by any machine's table."""
    with pytest.raises(UserError, match="is out of reach") as refused:
        search(SearchSettings.of(*words_of(task), "target=1e-9"))
    found = re.search(r"takes ([\d.e-]+) ms, the slowest ([\d.e-]+)", str(refused.value))
    return math.sqrt(float(found[1]) * float(found[2]))


def test_the_front_is_of_the_tasks_own_figure(done):
    task, summary, folder = done
    assert summary["metric"] == {"detection": "mAP", "segmentation": "mIoU"}[task]
    assert summary["winner"]
    assert summary["failed"] == 0
    root = folder / "results" / "search" / "mine"
    for number, row in enumerate(summary["front"], 1):
        arch = load(root / "front" / f"{number:02d}.yaml")
        assert arch.dense
        assert network_id(arch) == row["id"]
        assert 0 <= row["accuracy"] <= 1
        assert 0 <= row["test_accuracy"] <= 1
    assert summary["metric"] in (root / "winner.yaml").read_text().splitlines()[0]
    page = (root / "report.html").read_text()
    assert f"ranked by {summary['metric']} of the weights that each network has" in page
    others = [row for row in summary["front"] if row != summary["winner"]]
    found = [row["accuracy"] for row in others]
    assert found == sorted(found)
    assert summary["winner"]["fidelity"] == "trained again"
    assert f"nas.train task={task} arch=" in page


def test_the_winner_answers_by_itself(done):
    task, _, folder = done
    root = folder / "results" / "search" / "mine"
    picture = next((folder / TASKS[task]).rglob("*.png"))
    said = subprocess.run(
        [sys.executable, str(DENSE / "answer.py"), str(root / "winner.onnx"), str(picture)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    wanted = {"detection": {"boxes", "scores", "labels"}, "segmentation": {"mask"}}[task]
    assert set(json.loads(said.stdout)) == wanted


def test_it_is_compared_with_the_whole_network_and_with_chance_on_the_test_pictures(done):
    _, summary, folder = done
    names = [row["name"] for row in summary["compared"]]
    assert any(name.startswith("mine") for name in names)
    assert "random 1" in names
    equal = [row for row in summary["compared"] if row["name"] == "equal ratios"]
    assert all(row["latency_ms"] <= summary["winner"]["latency_ms"] for row in equal)
    weights = folder / "results" / "search" / "mine" / "weights"
    test_accuracy = summary["winner"]["test_accuracy"]
    for row in summary["compared"]:
        assert row["gain"] == pytest.approx(test_accuracy - row["test_accuracy"])
        assert row["gain_se"] >= 0
    ours = load_tensors(next(weights.glob(f"{summary['winner']['id']}-finish*")))
    assert len(ours["test_left_out"]) == 4  # test pictures, of which each is left out once
    assert gain_over(ours, ours) == (0, 0)


def test_the_winner_is_exported_in_8_bits(done):
    _, summary, folder = done
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = export(ExportSettings.of("arch=results/search/mine", "calibration=8"))
    assert found["metric"] == summary["metric"]
    assert found["accuracy"] == pytest.approx(summary["winner"]["test_accuracy"], abs=1e-6)
    assert [row["name"] for row in found["rows"]] == ["onnx", "onnx_int8"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("task=detection", "data=coco"), "task=detection is searched from weights.*no weights"),
        (("task=detection", "data=masks"), "data=masks is for task=segmentation"),
        (("data=coco",), "data=coco is for task=detection"),
        (("task=segmentation",), "data=embedded is for task=classification"),
        (
            ("task=detection", "data=coco", "weights=pretrained", "arch=tf_efficientnet_lite0",
             "latency.precision=int8"), r"here: latency\.precision=int8",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_one_line(words, message):
    with pytest.raises(UserError, match=message):
        SearchSettings.of(*words)


def test_a_training_of_boxes_has_a_budget_of_its_own():
    words = ("task=detection", "data=coco", "weights=pretrained", "arch=tf_efficientnet_lite0")
    settings = SearchSettings.of(*words)
    assert settings.budget.name == "dense"
    assert settings.budget.node["epochs"] == 15
    assert settings.resolutions == (320,)
    assert settings.data.node["resolution"] == 320
    assert SearchSettings.of(*words, "budget.epochs=9").budget.node["epochs"] == 9
    quick = SearchSettings.of(*words, "budget=quick").budget
    assert (quick.name, quick.node["epochs"]) == ("quick", 2)
    assert SearchSettings.of(*words, "budget=dense").budget.node["epochs"] == 30
    assert SearchSettings.of(*words, "data.resolution=160").resolutions == (160,)
    assert replace(settings).to_config("", "")["task"]["name"] == "detection"


def test_the_winner_is_trained_on_as_it_is(done):
    """With its head; the search's figures say how pictures are normalised."""
    task, summary, folder = done
    root = folder / "results" / "search" / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = (
            f"task={task}", f"data={TASKS[task]}", f"data.root={TASKS[task]}", "resolution=64",
            f"arch={root / 'winner.yaml'}", "weights=file", f"weights.path={root / 'winner.pt'}",
            "budget.epochs=1", "budget.lr=1e-9", "budget.precision=fp32", "budget.norms=frozen",
            "device=cpu", "measure=false", "run=on",
        )  # fmt: skip
        found = train(TrainSettings.of(*words))
    kept = torch.load(root / "winner.pt", weights_only=True)
    after = torch.load(folder / "results" / "train" / "on" / "weights.pt", weights_only=True)
    last = max(name for name in kept if name.startswith("answers") and name.endswith("weight"))
    assert torch.allclose(after[last], kept[last], atol=1e-5)  # a new head would be another
    assert found["mean"] == pytest.approx(summary["mean"])
