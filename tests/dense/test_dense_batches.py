"""Boxes and masks move with their pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from annotated_files import WRITERS

from nas.data.annotated.masks import VOID
from nas.data.augment import generator
from nas.data.dense import DenseSplit, load_dense
from nas.data.dense_batches import DenseBatches, lit, moved, moved_boxes

SIDE, CPU = 96, torch.device("cpu")


def one_square(left, top, right, bottom):
    """A white square on black, its box and its mask."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    image[..., top:bottom, left:right] = 255
    box = torch.tensor([left, top, right, bottom]) / SIDE
    rows = torch.zeros(1, 2, 6)
    rows[0, 0] = torch.cat((box, torch.tensor([1.0, 0.0])))
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    mask[:, top:bottom, left:right] = 1
    return image, rows, mask


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("flip", [False, True])
def test_the_box_stays_on_the_square_and_so_does_the_mask(seed, flip):
    image, rows, mask = one_square(30, 36, 60, 54)
    seen, boxes = moved(image, rows, generator(seed, 0), flip)
    same, masks = moved(image, mask, generator(seed, 0), flip)
    assert torch.equal(seen, same)
    bright = (seen[0, 0] > 128).nonzero()
    assert boxes[0, 1].abs().sum() == 0  # a row without a box stays one
    if not len(bright):
        assert boxes[0, 0, 4] == 0
        return
    first, last = bright.amin(0), bright.amax(0) + 1
    found = torch.cat((first.flip(0), last.flip(0))) / SIDE
    assert (boxes[0, 0, :4] - found).abs().max() <= 1.5 / SIDE
    shown = masks[0] == 1
    assert (shown ^ (seen[0, 0] > 128)).sum() <= 0.1 * shown.sum() + 8
    assert torch.equal(seen[0, 0][masks[0] == VOID].max() if (masks == VOID).any()
                       else torch.tensor(0.0), torch.tensor(0.0))  # fmt: skip


def test_pictures_are_mirrored_only_where_they_may_be():
    image, rows, _ = one_square(4, 40, 30, 60)
    sides = [
        float(moved(image, rows, generator(seed, 0), flip)[1][0, 0, :3:2].mean()) > 0.5
        for flip in (False, True)
        for seed in range(30)
    ]
    assert not all(sides[30:])
    assert sum(sides[30:]) > sum(sides[:30]) + 5


def test_a_box_out_of_sight_is_gone_and_one_of_which_little_is_seen_is_ignored():
    rows = torch.tensor([[[0.0, 0.0, 0.2, 0.2, 1, 0], [0.3, 0.3, 0.6, 0.6, 2, 0]]])
    window = torch.tensor([[0.55, 0.3, 0.45, 0.45]])
    gone, little = moved_boxes(rows, window, torch.tensor([False]))[0]
    assert gone.abs().sum() == 0
    assert little[4:].tolist() == [2, 1]
    assert little[:4].tolist() == pytest.approx([0, 0, 0.05 / 0.45, 0.3 / 0.45], abs=1e-6)


def test_light_keeps_the_range():
    image = torch.rand(4, 3, 8, 8) * 255
    other = lit(image, generator(0, 0))
    assert 0 <= other.min() <= other.max() <= 255
    assert not torch.equal(other, image)


@pytest.mark.parametrize("name", ["coco", "masks"])
def test_an_epoch_is_the_same_each_time_and_every_picture_is_in_it(name, tmp_path):
    data = load_dense(name, root=str(WRITERS[name](tmp_path)), resolution=32)
    how = {"device": CPU, "batch_size": 4, "augment": True, "seed": 3}
    batches = DenseBatches(data.train, data.mean, data.std, **how)
    one, two = list(batches.epoch(1)), list(batches.epoch(1))
    assert len(one) == len(batches) == 3
    for (x, y), (again, labels) in zip(one, two, strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, labels)
    assert not torch.equal(one[0][0], next(iter(batches.epoch(2)))[0])
    plain = DenseBatches(data.train, data.mean, data.std, device=CPU)
    images = torch.cat([x for x, _ in plain.epoch(0)])
    assert len(images) == len(data.train)
    assert images.mean().abs() < 0.05  # normalised
    assert images.std() == pytest.approx(1, abs=0.1)


def test_a_last_batch_that_is_not_full_is_left_out_of_training_alone():
    split = DenseSplit(
        torch.zeros(10, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(10, 4, 4, dtype=torch.uint8),
        np.full((10, 2), 4),
        tuple("abcdefghij"),
    )
    training = DenseBatches(split, (0.5,) * 3, (0.2,) * 3, device=CPU, batch_size=4)
    assert [len(x) for x, _ in training.epoch(0)] == [4, 4]
    scoring = DenseBatches(split, (0.5,) * 3, (0.2,) * 3, device=CPU)
    assert [len(x) for x, _ in scoring.epoch(0)] == [10]
