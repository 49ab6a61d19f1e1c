"""The loss without void pixels, and intersection over union by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from nas.core.errors import UserError
from nas.data.annotated.masks import VOID
from nas.data.dense import DenseSplit
from nas.tasks.segmentation import Segmentation, confusion, score_of
from nas.tasks.task import as_picture

CLASSES = ("road", "car", "sky")


def test_void_pixels_count_for_nothing():
    task, answers = Segmentation(), torch.randn(2, 3, 4, 4)
    labels = torch.randint(0, 3, (2, 4, 4))
    whole = task.loss(answers, labels, 0.0)
    assert whole == pytest.approx(torch.nn.functional.cross_entropy(answers, labels).item())
    labels[0] = VOID
    rest = torch.nn.functional.cross_entropy(answers[1:], labels[1:]).item()
    assert task.loss(answers, labels, 0.0) == pytest.approx(rest)
    assert task.loss(answers, torch.full_like(labels, VOID), 0.0) == 0


def test_intersection_over_union_by_hand():
    truth = np.array([[0, 0, 1], [1, VOID, VOID]], np.uint8)
    found = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
    score = score_of(confusion(found, truth, 3)[None], CLASSES)
    # road: 1 of 2; car: 2 of 3; sky was neither there nor said of a pixel that counts
    assert score.figures["mIoU"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert score.figures["pixel_accuracy"] == pytest.approx(3 / 4)
    assert score.by_class["pixels"].tolist() == [2, 2, 0]
    assert np.isnan(score.by_class["IoU"][2])


def test_the_mean_is_of_all_pictures_together():
    one = confusion(np.array([0, 0]), np.array([0, 1], np.uint8), 2)
    two = confusion(np.array([1, 1]), np.array([1, 1], np.uint8), 2)
    score = score_of(np.stack((one, two)), CLASSES[:2])
    assert score.figures["mIoU"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert score.of_picture.tolist() == pytest.approx([0.25, 1.0])


def test_one_pixel_called_a_class_that_is_not_there_costs_one_pixel():
    truth = np.zeros((10, 10), np.uint8)
    truth[5:] = 1
    found = truth.copy()
    found[0, 0] = 2
    score = score_of(confusion(found, truth, 3)[None], CLASSES)
    assert score.figures["mIoU"] == pytest.approx((49 / 50 + 1) / 2)
    assert score.by_class["IoU"].tolist() == pytest.approx([49 / 50, 1, 0])
    void = confusion(found, np.full_like(truth, VOID), 3)[None]
    assert np.isnan(score_of(void, CLASSES).figures["mIoU"])


def test_void_is_drawn_as_the_picture_itself():
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    found = torch.full((4, 4), VOID, dtype=torch.uint8)
    found[0] = 1
    drawn = np.asarray(Segmentation().drawn(image, found, CLASSES))
    assert (drawn[1:] == (10, 20, 30)).all()
    assert (drawn[0] != (10, 20, 30)).all()


def test_a_score_of_answers_equals_that_of_their_confusion():
    labels = torch.randint(0, 3, (2, 5, 5), dtype=torch.uint8)
    split = DenseSplit(
        torch.zeros(2, 3, 5, 5, dtype=torch.uint8), labels, np.full((2, 2), 5), ("a", "b")
    )
    task = Segmentation()
    assert task.score(list(labels), split, CLASSES).figures["mIoU"] == 1.0
    assert torch.equal(task.truth(split, 1), labels[1])


def test_an_output_stride_that_is_none_is_one_line():
    with pytest.raises(UserError, match="output_stride"):
        Segmentation(output_stride=12)


def test_a_very_long_picture_is_shown_one_pixel_high():
    images, sizes = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), np.array([[2000, 1]], np.int64)
    assert as_picture(DenseSplit(images, images[:, 0], sizes, ("a",)), 0).size == (360, 1)
