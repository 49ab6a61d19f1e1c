"""A network that brings a head for boxes or masks keeps it, its anchors and its side."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from annotated_files import WRITERS

from nas.arch.arch import ImageSpec
from nas.arch.serialization import dumps
from nas.core.errors import UserError
from nas.data.dense import DenseSplit
from nas.latency.settings import LatencySettings
from nas.search.settings import SearchSettings
from nas.tasks.detection import Detection
from nas.tasks.segmentation import Segmentation
from nas.train.settings import TrainSettings
from nas.train.setup import open_run, sized_data
from search_spaces.lookup import PUBLISHED, adapted, resolve_baseline

SSDLITE, DEEPLAB = (
    PUBLISHED[name] for name in ("ssdlite320_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large")
)
MASKS = SimpleNamespace(num_classes=4, resolution=96)


def boxes_of(side, num_classes):
    """Data whose boxes all have sides of that part of the picture's."""
    labels = torch.tensor([[[0.1, 0.1, 0.1 + side, 0.1 + side, 1, 0]]])
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    split = DenseSplit(images, labels, np.full((1, 2), 100), ("0",))
    return SimpleNamespace(train=split, num_classes=num_classes, resolution=96)


def test_masks_keep_the_head_but_for_what_is_set():
    own = replace(DEEPLAB, dense=replace(DEEPLAB.dense, output_stride=8, separable=True))
    arch = Segmentation().with_head(own, MASKS)
    assert (arch.dense, arch.classes, arch.resolution) == (own.dense, 4, 96)
    arch = Segmentation(output_stride=32, separable=False).with_head(own, MASKS)
    assert arch.dense == replace(own.dense, output_stride=32, separable=False)
    alone = replace(DEEPLAB, dense=None)
    heads = [Segmentation(head=head).with_head(alone, MASKS).dense.op for head in (None, "lraspp")]
    assert heads == ["lraspp", "lraspp"]


def test_a_separable_head_that_has_no_branches_is_one_line():
    with pytest.raises(UserError, match=r"is for task.head=deeplabv3, and the head is lraspp"):
        Segmentation(separable=True).with_head(replace(DEEPLAB, dense=None), MASKS)


def test_boxes_keep_anchors_that_were_made_for_as_many_classes():
    arch = Detection().with_head(SSDLITE, boxes_of(0.1, 2))
    assert (arch.dense.min_scale, arch.dense.max_scale) == (0.1, 0.2)
    again = Detection().with_head(arch, boxes_of(0.4, 2))
    assert again == arch
    given = Detection(max_scale=0.5).with_head(arch, boxes_of(0.4, 2))
    assert given.dense == replace(arch.dense, max_scale=0.5)
    with pytest.raises(UserError, match=r"task.min_scale=0.1 must be below task.max_scale=0.05"):
        Detection(max_scale=0.05).with_head(arch, boxes_of(0.4, 2))
    other = Detection().with_head(arch, boxes_of(0.4, 3))
    assert (other.dense.min_scale, other.dense.max_scale) == (0.4, 0.8)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_file_of_such_a_network_keeps_its_anchors_in_training_too(tmp_path, num_classes):
    arch = Detection().with_head(SSDLITE, boxes_of(0.1, 2))
    (tmp_path / "own.yaml").write_text(dumps(arch))
    spec = ImageSpec(96, 3, num_classes)
    name = str(tmp_path / "own.yaml")
    found, _ = resolve_baseline(name, tmp_path, lambda: spec, trained=True, classes_only=False)
    again = Detection().with_head(found, boxes_of(0.4, num_classes))
    assert (again.dense == arch.dense) == (num_classes == 2)
    assert again.classes == num_classes + 1


def test_the_newest_winner_with_a_head_is_trained_at_its_own_side(tmp_path):
    arch = replace(Detection().with_head(SSDLITE, boxes_of(0.1, 2)), resolution=160)
    folder = tmp_path / "search" / "boxes"
    folder.mkdir(parents=True)
    (folder / "winner.yaml").write_text(dumps(arch))
    words = ["task=detection", "data=coco", f"data.root={tmp_path}", f"results={tmp_path}"]
    assert sized_data(TrainSettings.of(*words), None).node["resolution"] == 160
    given = TrainSettings.of(*words, "resolution=224")
    assert sized_data(given, 224).node["resolution"] == 224


@pytest.mark.parametrize(
    ("task", "arch", "words"),
    [
        (Segmentation(), SSDLITE, "has the head ssdlite, and lraspp or deeplabv3"),
        (Segmentation(head="lraspp"), DEEPLAB, "has the head deeplabv3, and lraspp"),
        (Detection(), DEEPLAB, "has the head deeplabv3, and ssdlite"),
    ],
)
def test_another_head_than_the_one_asked_for_is_one_line(task, arch, words):
    with pytest.raises(UserError, match=words) as error:
        task.with_head(arch, boxes_of(0.1, 2))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("more", "side"), [((), 96), (("resolution=64",), 64)])
def test_the_side_is_the_networks_own_where_none_is_given(tmp_path, more, side):
    root, file = WRITERS["masks"](tmp_path / "masks"), tmp_path / "own.yaml"
    own = replace(PUBLISHED["mobilenet_v2_0.35"], dense=DEEPLAB.dense, classes=3, resolution=96)
    file.write_text(dumps(own))
    words = ("task=segmentation", "data=masks", f"data.root={root}", f"arch={file}")
    with open_run(TrainSettings.of(*words, f"results={tmp_path / 'results'}", *more)) as run:
        assert run.arch.dense == DEEPLAB.dense
        assert run.arch.resolution == run.data.resolution == side
    if not more:
        words = (*words, "weights=file", f"weights.path={file}")
        assert SearchSettings.of(*words).resolutions == (96,)


@pytest.mark.parametrize(
    "name", ["deeplabv3_mobilenet_v3_small_0.35", "ssdlite320_mobilenet_v3_large"]
)
def test_a_published_network_that_is_sized_for_the_data_keeps_its_head(name, tmp_path):
    arch, _ = resolve_baseline(
        name, tmp_path, lambda: ImageSpec(3, 4, 96), trained=True, classes_only=False
    )
    assert arch.dense == PUBLISHED[name].dense
    assert (arch.resolution, arch.classes) == (96, 4)


def test_a_published_network_is_adapted_only_to_what_it_answers():
    backbone = PUBLISHED["mobilenet_v3_large"]
    assert adapted("mobilenet_v3_large", DEEPLAB).dense == DEEPLAB.dense
    assert adapted("deeplabv3_mobilenet_v2", DEEPLAB).dense == DEEPLAB.dense
    for space, wanted in ((backbone, "a network for classes"), (DEEPLAB, "the head deeplabv3")):
        with pytest.raises(UserError, match=f"has the head ssdlite, and {wanted} is asked for"):
            adapted("ssdlite320_mobilenet_v3_large", space)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (SearchSettings, "target=ssdlite320_mobilenet_v3_large"),
        (SearchSettings, "references=[lraspp_mobilenet_v3_large]"),
        (LatencySettings, "target=ssdlite320_mobilenet_v3_large"),
    ],
)
def test_a_network_with_a_head_is_no_mark_for_classes(settings, word):
    with pytest.raises(UserError, match="answers boxes or masks, and a network for classes is"):
        settings.of(word)


def test_a_head_by_name_is_trained_and_not_replaced(tmp_path):
    root = WRITERS["masks"](tmp_path / "masks")
    words = ("task=segmentation", "data=masks", f"data.root={root}", f"results={tmp_path}")
    name = "deeplabv3_mobilenet_v3_small_0.35"
    with open_run(TrainSettings.of(*words, f"arch={name}", "resolution=64")) as run:
        assert run.arch.dense.op == "deeplabv3"
    with (
        pytest.raises(UserError, match="has the head ssdlite, and lraspp or deeplabv3"),
        open_run(TrainSettings.of(*words, "arch=ssdlite320_mobilenet_v3_large")),
    ):
        pass
