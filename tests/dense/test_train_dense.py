"""End to end: boxes and masks trained, scored, drawn, exported; the model answers by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from annotated_files import CLASSES, WRITERS
from PIL import Image

from nas.arch.serialization import load
from nas.core.errors import UserError
from nas.data.dense import load_dense
from nas.network.modules import arrays, build
from nas.network.onnx_graph import onnx_model
from nas.tasks.detection import Detection
from nas.tasks.onnx_answers import with_answers
from nas.tasks.start import load_backbone, new_norms, start_head
from nas.train.run import train
from nas.train.settings import TrainSettings
from nas.training.first_weights import FirstWeights
from search_spaces.lookup import PUBLISHED

SCRIPT = Path(__file__).with_name("answer.py")
BUDGET = ("budget=transfer", "budget.norms=batch", "budget.lr=0.003", "budget.precision=fp32",
          "budget.label_smoothing=0")  # fmt: skip
TASKS = {"detection": "coco", "segmentation": "masks"}


def run(top, task, *more, epochs=1, pictures=0):
    if task == "detection":
        pytest.importorskip("faster_coco_eval", reason="needs pip install -e '.[detection]'")
    name = TASKS[task]
    root = top / name
    if not root.exists():
        WRITERS[name](root, pictures)
    words = (f"task={task}", f"data={name}", f"data.root={root}", "resolution=64", "device=cpu",
             "arch=mobilenet_v2_0.35", f"results={top / 'results'}", "run=mine", "measure=false",
             f"budget.epochs={epochs}", *BUDGET, *more)  # fmt: skip
    return train(TrainSettings.of(*words)), top / "results" / "train" / "mine"


def answers(model, picture):
    said = subprocess.run(
        [sys.executable, str(SCRIPT), str(model), str(picture)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(said.stdout)


def image_of(folder, data):
    """The first test picture as the network reads it."""
    summary = json.loads((folder / "summary.json").read_text())
    mean, std = (torch.tensor(summary[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (data.test.images[:1].float() / 255 - mean) / std


def test_boxes_are_learnt_and_the_model_answers_them_alone(tmp_path):
    summary, folder = run(tmp_path, "detection", "task.min_scale=0.25", epochs=12, pictures=60)
    assert summary["test"]["AP50"] > 0.5  # by chance it is .01
    assert summary["task"] == "detection"
    assert {file.name for file in folder.iterdir() if file.name[0] != "."} == {
        "predictions.png", "model.onnx", "weights.pt", "network.yaml", "summary.json",
        "environment.json", "history.csv", "classes.csv", "config.yaml", "checkpoint.pt",
    }  # fmt: skip
    assert pd.read_csv(folder / "classes.csv")["class"].tolist() == CLASSES
    with Image.open(folder / "predictions.png") as picture:
        assert picture.size[1] > 200
    data = load_dense("coco", root=str(tmp_path / "coco"), resolution=64)
    said = answers(folder / "model.onnx", tmp_path / "coco" / data.test.names[0])
    arch = load(folder / "network.yaml")
    net = build(arch).eval()
    net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    task = Detection(min_scale=0.25).for_network(arch, torch.device("cpu"))
    with torch.inference_mode():
        (ours,) = task.read(net(image_of(folder, data)))
    sure = ours.scores > 0.05
    number = int(sure.sum())
    assert number >= 1
    assert np.allclose(said["boxes"][:number], ours.boxes[sure], atol=1e-3)
    assert np.allclose(said["scores"][:number], ours.scores[sure], atol=1e-3)
    assert said["labels"][:number] == ours.labels[sure].tolist()


def test_masks_are_learnt_and_the_model_answers_them_alone(tmp_path):
    summary, folder = run(tmp_path, "segmentation", epochs=8, pictures=84)
    assert summary["test"]["mIoU"] > 0.5
    data = load_dense("masks", root=str(tmp_path / "masks"), resolution=64)
    said = answers(folder / "model.onnx", tmp_path / "masks" / data.test.names[0])
    net = build(load(folder / "network.yaml")).eval()
    net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    with torch.inference_mode():
        ours = net(image_of(folder, data)).argmax(1)
    assert (np.array(said["mask"]) == ours.numpy()).mean() > 0.99


@pytest.mark.parametrize("task", TASKS)
def test_the_same_command_gives_the_same_weights_and_another_is_refused(task, tmp_path):
    _, folder = run(tmp_path, task, epochs=2)
    first = torch.load(folder / "weights.pt", weights_only=True)
    run(tmp_path, task, epochs=2)  # goes on from the last epoch
    again = torch.load(folder / "weights.pt", weights_only=True)
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = "task.negatives=focal" if task == "detection" else "task.width=64"
    with pytest.raises(UserError, match="began with other settings"):
        run(tmp_path, task, other, epochs=2)


def test_a_finished_network_is_read_otherwise_without_training(tmp_path):
    _, folder = run(tmp_path, "detection")
    epochs = (folder / "history.csv").read_text()
    run(tmp_path, "detection", "task.min_score=0.2", "task.nms_iou=0.3", "task.most=1")
    assert (folder / "history.csv").read_text() == epochs
    said = answers(folder / "model.onnx", next((tmp_path / "coco" / "images").iterdir()))
    assert len(said["scores"]) <= 1
    assert yaml.safe_load((folder / "config.yaml").read_text())["task"]["most"] == 1


def test_nothing_is_written_where_annotations_are_wrong(tmp_path):
    WRITERS["coco"](tmp_path / "coco")
    file = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    told = json.loads(file.read_text())
    told["annotations"][0]["category_id"] = 9
    file.write_text(json.dumps(told))
    with pytest.raises(UserError, match="category 9"):
        run(tmp_path, "detection")
    assert not (tmp_path / "results").exists()


def test_a_classifiers_weights_become_the_backbones(tmp_path):
    arch = replace(PUBLISHED["ssdlite64_mobilenet_v2_0.35"], classes=3)
    plain = build(replace(arch, dense=None, classes=7), 1)
    torch.save(plain.state_dict(), tmp_path / "classifier.pt")
    net = build(arch, 0)
    start_head(net)
    head = net.get_submodule("answers").state_dict()
    before = {key: value.clone() for key, value in head.items()}
    load_backbone(FirstWeights(str(tmp_path / "classifier.pt"), None), net, arch, 0)
    own = net.state_dict()
    assert torch.equal(own["stem.conv.conv.weight"], plain.state_dict()["stem.conv.conv.weight"])
    cut = "stage6_block1_expand.expand.conv.weight"
    assert torch.equal(own[cut], plain.state_dict()[cut.replace("_expand.", ".")])
    assert torch.equal(own["head.conv.bn.weight"], plain.state_dict()["head.conv.bn.weight"])
    assert all(
        torch.equal(net.get_submodule("answers").state_dict()[k], v) for k, v in before.items()
    )
    assert len(new_norms(net)) == 3 + 2 * 3  # of an extra map, of two predictors on three maps


@pytest.mark.parametrize("most", [1, 3, 100])
def test_the_exported_suppression_is_ours(most, tmp_path):
    pytest.importorskip("faster_coco_eval", reason="needs pip install -e '.[detection]'")
    arch = replace(PUBLISHED["ssdlite64_mobilenet_v2_0.35"], classes=4)
    net = build(arch, 3).eval()
    task = Detection(most=most, min_score=0.2).for_network(arch, torch.device("cpu"))
    model = with_answers(onnx_model(arch, arrays(net)).SerializeToString(), task)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = 0
    for seed in range(3):
        image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            (ours,) = task.read(net(image))
        boxes, scores, labels = session.run(["boxes", "scores", "labels"], {"image": image.numpy()})
        assert len(boxes) == len(ours.boxes)
        assert np.allclose(boxes, ours.boxes, atol=1e-4)
        assert np.allclose(scores, ours.scores, atol=1e-4)
        assert labels.tolist() == ours.labels.tolist()
        found += len(boxes)
    assert found >= 1
