"""Anchors, matching, losses and COCO's figures of SSDLite."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import needs_shared, reference

from nas.core.errors import UserError
from nas.data.dense import DenseSplit
from nas.tasks.anchors import (
    anchors_of,
    corners,
    decoded,
    encoded,
    kept_boxes,
    overlaps,
    sizes_of,
)
from nas.tasks.coco import Boxes, coco_figures
from nas.tasks.detection import (
    NEGATIVES,
    Detection,
    hardest,
    maps_for,
    matched,
    usual_sides,
)
from search_spaces.lookup import PUBLISHED

pytest.importorskip("faster_coco_eval", reason="needs pip install -e '.[detection]'")

ARCH = replace(PUBLISHED["ssdlite320_mobilenet_v3_large"], classes=3)
CPU = torch.device("cpu")
CLASSES = ("disc", "bar")


def rows_of(*boxes):
    """(1, M, 6) of (left, top, right, bottom, class[, as ignored])."""
    return torch.tensor([[[*box, *(0,) * (6 - len(box))] for box in boxes]], dtype=torch.float32)


def split_of(rows):
    number = len(rows)
    sizes = np.tile([100, 100], (number, 1))
    images = torch.zeros(number, 3, 8, 8, dtype=torch.uint8)
    return DenseSplit(images, rows, sizes, tuple(map(str, range(number))))


@needs_shared
def test_anchors_have_torchvisions_scales_and_ratios():
    record = reference("dense")["_ssdlite_anchors"]
    anchors = anchors_of(ARCH)
    assert len(anchors) == 3234
    at = 0
    for k, side in enumerate((20, 10, 5, 3, 2, 1)):
        scale, after = record["scales"][k], record["scales"][k + 1]
        expected = [(scale, scale), (math.sqrt(scale * after),) * 2]
        for ratio in record["aspect_ratios"][k]:
            pair = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            expected += [pair, pair[::-1]]
        expected = np.clip(expected, 0, 1)
        block = anchors[at : at + side * side * 6]
        assert np.allclose(block[:6, 2:], expected, atol=1e-6)
        assert np.allclose(block[0, :2], 0.5 / side)
        assert np.allclose(block[-1, :2], 1 - 0.5 / side)
        if side > 1:  # the next place is to the right
            assert np.allclose(block[6, :2], [1.5 / side, 0.5 / side])
        at += len(block)


def test_three_anchors_on_the_finest_map():
    dense = replace(ARCH.dense, first_anchors=3)
    sizes = sizes_of(dense, 6)
    assert [len(of_map) for of_map in sizes] == [3, 6, 6, 6, 6, 6]
    assert sizes[0][0] == pytest.approx((0.1, 0.1))


def test_offsets_are_undone():
    anchors = anchors_of(ARCH)
    boxes = torch.tensor([0.2, 0.3, 0.5, 0.9]).expand(1, len(anchors), 4)
    assert torch.allclose(decoded(encoded(boxes, anchors), anchors), boxes, atol=1e-5)


def test_overlaps_by_hand():
    left = torch.tensor([[0, 0, 0.5, 0.5]])
    right = torch.tensor([[0.25, 0, 0.75, 0.5], [0.6, 0.6, 0.7, 0.7], [0, 0, 0.5, 0.5]])
    assert overlaps(left, right)[0].tolist() == pytest.approx([1 / 3, 0, 1])


def test_suppression_keeps_the_best_and_what_is_apart():
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.52], [0.5, 0.5, 1, 1], [0, 0, 0.5, 0.2]])
    scores = torch.tensor([0.6, 0.9, 0.5, 0.3])
    assert kept_boxes(boxes, scores, 0.5, 10).tolist() == [1, 2, 3]
    assert kept_boxes(boxes, scores, 0.5, 2).tolist() == [1, 2]
    assert kept_boxes(boxes[:0], scores[:0], 0.5, 2).tolist() == []


def test_every_box_has_an_anchor_however_small():
    labels = rows_of((0.5, 0.5, 0.51, 0.51, 2), (0.1, 0.1, 0.5, 0.5, 1), (0, 0, 0, 0, 0))
    anchors = anchors_of(ARCH)
    wanted, boxes = matched(labels, anchors)
    assert (wanted == 2).sum() == 1
    near = overlaps(labels[0, 1:2, :4], corners(anchors))[0]
    assert (wanted[0][near >= 0.5] == 1).all()
    assert torch.equal(boxes[0, wanted[0] == 2][0], labels[0, 0, :4])
    assert (wanted[0][(near < 0.5) & (wanted[0] != 2)] <= 1).all()
    assert (wanted[0] == 0).sum() > 3000


def test_two_boxes_on_one_anchor_do_not_lose_the_class():
    labels = rows_of((0.3, 0.3, 0.32, 0.32, 1), (0.3, 0.3, 0.32, 0.32, 2))
    wanted, _ = matched(labels, anchors_of(ARCH))
    assert sorted(wanted[wanted != 0].tolist()) == [2]


def test_anchors_on_an_ignored_box_do_not_count():
    anchors = anchors_of(ARCH)
    labels = rows_of((0.1, 0.1, 0.5, 0.5, 1, 1))
    wanted, _ = matched(labels, anchors)
    assert (wanted == 1).sum() == 0
    assert (wanted == -1).sum() == (overlaps(labels[0, :, :4], corners(anchors)) >= 0.5).sum() > 0


def test_anchors_in_a_crowd_do_not_count():
    anchors = anchors_of(ARCH)
    labels = rows_of((0.1, 0.1, 0.9, 0.9, 1, 2))
    wanted, _ = matched(labels, anchors)
    boxes = corners(anchors)
    inside = (boxes >= 0.1).all(1) & (boxes <= 0.9).all(1)
    assert inside.sum() > 900
    assert (wanted[0][inside] == -1).all()
    assert (wanted[0] == 0).sum() > 100


def test_hard_negatives_are_the_worst_and_thrice_as_many():
    entropy = torch.arange(20.0)[None] + 1
    positive = torch.zeros(1, 20, dtype=torch.bool)
    positive[0, 19] = True
    counts = torch.ones_like(positive)
    counts[0, 18] = False
    found = hardest(entropy, positive, counts)
    assert found[0].nonzero()[:, 0].tolist() == list(range(18 - NEGATIVES, 18))


def test_a_picture_without_boxes_has_as_many_negatives_as_the_others_in_the_mean():
    entropy = torch.rand(3, 40) + 1
    positive = torch.zeros(3, 40, dtype=torch.bool)
    positive[0, :2] = positive[1, :4] = True
    found = hardest(entropy, positive, torch.ones_like(positive))
    assert found.sum(1).tolist() == [2 * NEGATIVES, 4 * NEGATIVES, 3 * NEGATIVES]
    nothing = hardest(entropy, torch.zeros_like(positive), torch.ones_like(positive))
    assert nothing.sum(1).tolist() == [NEGATIVES] * 3
    task = Detection().for_network(ARCH, CPU)
    answers = torch.zeros(1, len(task.anchors), 7, requires_grad=True)
    task.loss(answers, torch.zeros(1, 1, 6), 0.0).backward()
    assert (answers.grad != 0).any(2).sum() == NEGATIVES


@pytest.mark.parametrize("negatives", ["hard", "focal"])
def test_the_loss_is_least_for_the_right_answer_and_falls_when_trained(negatives):
    task = Detection(negatives=negatives).for_network(ARCH, CPU)
    labels = rows_of((0.1, 0.1, 0.45, 0.5, 1), (0.6, 0.5, 0.9, 0.9, 2)).expand(2, -1, -1)
    wanted, boxes = matched(labels, task.anchors)
    right = torch.cat(
        (20.0 * torch.nn.functional.one_hot(wanted.clamp(min=0), 3),
         encoded(boxes, task.anchors)), -1
    )  # fmt: skip
    assert task.loss(right, labels, 0.0) < 1e-3
    answers = torch.zeros(2, len(task.anchors), 7, requires_grad=True)
    before = task.loss(answers, labels, 0.0)
    before.backward()
    assert answers.grad.isfinite().all()
    assert task.loss((answers - 5 * answers.grad).detach(), labels, 0.0) < before
    nothing = task.loss(torch.zeros(2, len(task.anchors), 7), labels * 0, 0.0)
    assert nothing.isfinite()


def test_answers_are_read_back_as_boxes():
    task = Detection().for_network(ARCH, CPU)
    labels = rows_of((0.1, 0.1, 0.45, 0.5, 1), (0.6, 0.5, 0.9, 0.9, 2))
    wanted, boxes = matched(labels, task.anchors)
    hot = torch.nn.functional.one_hot(wanted, 3) * 20.0
    (found,) = task.read(torch.cat((hot, encoded(boxes, task.anchors)), -1))
    sure = found.scores > 0.9
    assert sorted(found.labels[sure].tolist()) == [0, 1]
    for box, label in zip(found.boxes[sure], found.labels[sure], strict=True):
        assert torch.allclose(box, labels[0, label, :4], atol=1e-4)


def test_cocos_figures_of_right_wrong_and_no_answers():
    rows = torch.cat((rows_of((0.1, 0.1, 0.5, 0.5, 1)), rows_of((0.2, 0.2, 0.6, 0.8, 2))))
    split, task = split_of(rows), Detection()
    truth = [task.truth(split, i) for i in range(2)]
    figures, by_class = coco_figures(truth, split, CLASSES)
    assert figures == {"mAP": 1.0, "AP50": 1.0, "AP75": 1.0}
    assert by_class["AP50"].tolist() == [1, 1]
    moved = [one._replace(boxes=one.boxes + torch.tensor([0.06, 0.0, 0.06, 0.0])) for one in truth]
    figures, _ = coco_figures(moved, split, CLASSES)
    assert figures["AP50"] == 1.0
    assert 0 < figures["mAP"] < 1
    none = [Boxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))] * 2
    assert coco_figures(none, split, CLASSES)[0]["mAP"] == 0
    half = task.score([truth[0], none[0]], split, CLASSES)
    assert half.figures["AP50"] == 0.5
    assert half.of_picture.tolist() == [1.0, 0.0]


def test_where_no_box_counts_there_is_no_figure():
    split = split_of(torch.cat((rows_of((0.1, 0.1, 0.5, 0.5, 1, 1)), torch.zeros(1, 1, 6))))
    none = [Boxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))] * 2
    one = [Boxes(split.labels[0, :, :4], torch.ones(1), torch.zeros(1, dtype=torch.long)), none[0]]
    for found in (none, one):
        figures, by_class = coco_figures(found, split, CLASSES)
        assert np.isnan(list(figures.values())).all()
        assert np.isnan(by_class[["mAP", "AP50"]]).all(axis=None)
    there = split_of(rows_of((0.1, 0.1, 0.5, 0.5, 2)))
    figures, by_class = coco_figures(none[:1], there, CLASSES)
    assert figures["mAP"] == 0
    assert np.isnan(by_class["mAP"]).tolist() == [True, False]


def test_ignored_boxes_count_neither_way():
    split = split_of(rows_of((0.1, 0.1, 0.5, 0.5, 1), (0.6, 0.6, 0.9, 0.9, 1, 1)))
    boxes = split.labels[0, :, :4]
    found = Boxes(boxes, torch.tensor([0.5, 0.9]), torch.zeros(2, dtype=torch.long))
    assert coco_figures([found], split, CLASSES)[0]["AP50"] == 1.0


@pytest.mark.parametrize(("ignored", "right"), [(1, False), (2, True)])
def test_a_wrong_answer_in_a_crowd_is_none_and_in_a_difficult_object_is_one(ignored, right):
    split = split_of(rows_of((0.1, 0.1, 0.3, 0.3, 1), (0.4, 0.4, 0.9, 0.9, 1, ignored)))
    boxes = torch.cat((split.labels[0, :, :4], torch.tensor([[0.5, 0.5, 0.6, 0.6]])))
    found = Boxes(boxes, torch.tensor([0.5, 0.9, 0.8]), torch.zeros(3, dtype=torch.long))
    assert (coco_figures([found], split, CLASSES)[0]["AP50"] == 1.0) == right


def test_scales_the_wrong_way_round_are_one_line():
    with pytest.raises(UserError, match=r"task.min_scale=0.9 must be below"):
        Detection(min_scale=0.9, max_scale=0.5)


def test_anchors_are_as_large_as_the_boxes_to_train_with():
    small, large = [(0.1, 0.1, 0.2, 0.2, 1)] * 990, [(0.0, 0.0, 0.9, 0.4, 2)] * 10
    crowd = (0.0, 0.0, 1.0, 1.0, 1, 1)
    split = split_of(rows_of(*small, *large, crowd))
    assert usual_sides(split) == (0.1, 0.6)
    assert usual_sides(split_of(torch.zeros(1, 3, 6))) == (0.2, 0.95)
    data = SimpleNamespace(train=split, num_classes=2, resolution=320)

    def chosen(**settings):
        dense = Detection(**settings).with_head(replace(ARCH, classes=91), data).dense
        return dense.min_scale, dense.max_scale, dense.finer_maps

    assert chosen() == (0.1, 0.6, 0)  # 32 pixels are two places of stride 16
    data.resolution = 160
    assert chosen() == (0.1, 0.6, 1)
    assert chosen(min_scale=0.4) == (0.4, 0.8, 0)
    assert chosen(max_scale=0.1) == (0.05, 0.1, 2)
    assert chosen(min_scale=0.3, max_scale=0.4, finer_maps=3) == (0.3, 0.4, 3)
    assert [maps_for(pixels) for pixels in (40, 32, 31, 16, 8, 1)] == [0, 0, 1, 1, 2, 2]


def test_suppression_is_the_greedy_one_on_any_boxes():
    """Box by box: a box stays where no better one that stays covers it by more."""
    draws = torch.Generator().manual_seed(0)
    for number in (1, 7, 300):
        centres, sides = (
            torch.rand(number, 2, generator=draws),
            torch.rand(number, 2, generator=draws),
        )
        boxes = torch.cat((centres - sides / 6, centres + sides / 6), 1).clamp(0, 1)
        scores = torch.rand(number, generator=draws)
        shares, stay = overlaps(boxes, boxes), list[int]()
        for i in scores.argsort(descending=True).tolist():
            if all(shares[i, k] <= 0.4 for k in stay):
                stay.append(i)
        assert kept_boxes(boxes, scores, 0.4, 50).tolist() == stay[:50]
