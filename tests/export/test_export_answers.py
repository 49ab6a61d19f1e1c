"""What was trained for boxes or masks, exported in float32 and in 8 bits: files that answer."""

from __future__ import annotations

import json
import re

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from annotated_files import CLASSES, WRITERS
from PIL import Image

from nas.core.errors import UserError
from nas.export.run import export
from nas.export.settings import ExportSettings
from nas.train.run import train
from nas.train.settings import TrainSettings

LAYOUTS = {"detection": "coco", "segmentation": "masks"}
METRICS = {"detection": "mAP", "segmentation": "mIoU"}


@pytest.fixture(scope="module", params=LAYOUTS)
def trained(request, tmp_path_factory):
    """The task, and a folder with a short training for it."""
    if request.param == "detection":
        pytest.importorskip("faster_coco_eval", reason="needs pip install -e '.[detection]'")
    folder, layout = tmp_path_factory.mktemp("trained"), LAYOUTS[request.param]
    WRITERS[layout](folder / layout, 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(TrainSettings.of(
            f"task={request.param}", f"data={layout}", f"data.root={folder / layout}",
            "resolution=64", "arch=mobilenet_v2_0.35", "budget.epochs=3", "budget.lr=0.003",
            "budget.precision=fp32", "device=cpu", "measure=false", "run=mine",
        ))  # fmt: skip
    return request.param, folder


@pytest.fixture
def here(trained, monkeypatch):
    task, folder = trained
    monkeypatch.chdir(folder)
    return task, folder


def test_both_files_answer_and_are_compared_by_the_tasks_figure(here):
    task, folder = here
    summary = export(ExportSettings.of("arch=results/train/mine", "calibration=8"))
    root = folder / "results" / "export" / "mine"
    whole, bits = summary["rows"]
    assert [row["name"] for row in summary["rows"]] == ["onnx", "onnx_int8"]
    assert summary["metric"] == METRICS[task]
    assert whole["accuracy"] == pytest.approx(summary["accuracy"], abs=1e-6)
    assert (whole["agreement"], whole["gain"]) == pytest.approx((1, 0), abs=1e-6)
    assert bits["bytes"] < whole["bytes"]
    assert bits["gain"] == pytest.approx(bits["accuracy"] - whole["accuracy"], abs=1e-6)
    known = json.loads((folder / "results" / "train" / "mine" / "summary.json").read_text())
    assert summary["accuracy"] == pytest.approx(known["test"][METRICS[task]], abs=1e-6)
    by_class = pd.read_csv(root / "classes.csv")
    assert by_class["class"].tolist()[-2:] == CLASSES
    assert (by_class["images"] > 0).all()
    outputs = {"detection": ["boxes", "scores", "labels"], "segmentation": ["mask"]}[task]
    for row in summary["rows"]:
        session = onnxruntime.InferenceSession(root / row["file"])
        assert [output.name for output in session.get_outputs()] == outputs


def test_the_cards_code_answers(here, monkeypatch):
    task, folder = here
    export(ExportSettings.of("arch=results/train/mine", "calibration=8"))
    root = folder / "results" / "export" / "mine"
    card = (root / "model.md").read_text()
    assert f"A network for {task}" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    picture = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    Image.fromarray(picture).save(root / "picture.jpg")
    monkeypatch.chdir(root)
    known = {}
    exec(code, known)
    if task == "segmentation":
        assert known["mask"].shape == (1, 64, 64)
    else:
        assert known["boxes"].shape == (len(known["scores"]), 4)


@pytest.mark.parametrize("word", ["to=[litert]", "preprocess=true", "qat=true", "batch=free"])
def test_what_is_for_classes_alone_is_said(here, word):
    task, folder = here
    words = ("arch=results/train/mine", word, f"run=no_{word.split('=')[0]}")
    with pytest.raises(UserError, match=rf"is for classes: a network for task={task} is written"):
        export(ExportSettings.of(*words))
    assert not list((folder / "results" / "export").glob("no_*"))
