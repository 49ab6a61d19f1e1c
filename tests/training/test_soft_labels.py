"""Labels that are partly a teacher's: of the same pictures, and the same for every student."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.data.batches import batches_for
from nas.data.dataset import load_data
from nas.training.soft_labels import SHARE, SoftLabels

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    return load_data("embedded", train=40, val=20, test=20)


class Teacher(nn.Module):
    """Answers by the mean of each quarter of the picture; counts what it is asked."""

    def __init__(self):
        super().__init__()
        self.linear, self.asked = nn.Linear(16, 10), 0

    def forward(self, x):
        self.asked += len(x)
        return 9 * self.linear(F.adaptive_avg_pool2d(x, 4).flatten(1))


def softened(data, teacher, folder, side=20):
    given = {"batch_size": 8, "augment": True, "device": CPU, "seed": 3}
    return SoftLabels(
        batches_for(data, "train", side, **given),
        batches_for(data, "train", 28, mean=(0.5,), std=(0.25,), **given),
        teacher.eval(),
        folder,
    )


def test_labels_are_the_teachers_of_the_same_crop_and_the_true_ones(data, tmp_path):
    teacher = Teacher()
    soft = softened(data, teacher, tmp_path)
    given = {"batch_size": 8, "augment": True, "device": CPU, "seed": 3}
    plain = batches_for(data, "train", 20, **given)
    theirs = batches_for(data, "train", 28, mean=(0.5,), std=(0.25,), **given)
    every = zip(soft.epoch(1), plain.epoch(1), theirs.epoch(1), strict=True)
    for (images, labels), (same, true), (seen, _) in every:
        assert torch.equal(images, same)
        with torch.no_grad():
            answers = teacher(seen).softmax(1)
        expected = SHARE * answers + (1 - SHARE) * F.one_hot(true, 10)
        torch.testing.assert_close(labels, expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(labels.sum(1), torch.ones(len(labels)), atol=2e-3, rtol=0)


def test_a_second_student_gets_the_same_labels_without_asking(data, tmp_path):
    teacher = Teacher()
    first = [labels for _, labels in softened(data, teacher, tmp_path).epoch(0)]
    asked = teacher.asked
    other = softened(data, teacher, tmp_path, side=12)
    second = [labels for _, labels in other.epoch(0)]
    assert teacher.asked == asked == 40
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert next(iter(other.epoch(0)))[0].shape[-1] == 12


def test_what_an_epoch_that_was_cut_short_left_is_not_believed(data, tmp_path):
    teacher = Teacher()
    soft = softened(data, teacher, tmp_path)
    next(iter(soft.epoch(0)))
    assert not list(tmp_path.glob("*.pt"))
    assert len(list(soft.epoch(0))) == len(soft) == 5
