"""How good a classifier is on images, with standard errors."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.training.evaluation import evaluate, image_losses, paired_difference

CPU = torch.device("cpu")


class Answers(nn.Module):
    """Logits that are the images' own first two pixels."""

    def forward(self, x):
        return x.flatten(1)[:, :2]


class Fixed:
    def __init__(self, logits, labels, size=2):
        self.pairs = list(zip(logits.split(size), labels.split(size), strict=True))

    def __len__(self):
        return len(self.pairs)

    def epoch(self, number):
        assert number == 0
        yield from ((logits.view(-1, 2, 1, 1), labels) for logits, labels in self.pairs)


def test_the_score_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0], [1.0, 2.0]])
    batches = Fixed(logits, torch.tensor([0, 1, 1, 1, 1]))
    score = evaluate(Answers(), batches, device=CPU)
    losses = [math.log1p(math.exp(x)) for x in (-2, -1, 1, -3, -1)]
    mean = sum(losses) / 5
    assert score.accuracy == 0.8
    assert score.accuracy_se == pytest.approx(math.sqrt(0.8 * 0.2 / 5))
    assert score.cross_entropy == pytest.approx(mean)
    spread = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / 5)
    assert score.cross_entropy_se == pytest.approx(spread / math.sqrt(5))
    assert score.num_images == 5
    all_right = evaluate(Answers(), Fixed(logits, logits.argmax(1)), device=CPU)
    assert all_right.accuracy == 1
    assert all_right.accuracy_se == pytest.approx(math.sqrt(6 / 7 * 1 / 7 / 5))  # not certain


def test_networks_are_compared_image_by_image():
    labels = torch.arange(200) % 2
    logits = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    better = logits + 0.1 * F.one_hot(labels, 2)
    first, right = image_losses(Answers(), Fixed(better, labels), device=CPU)
    second, _ = image_losses(Answers(), Fixed(logits, labels), device=CPU)
    difference, error = paired_difference(first, second)
    assert first.dtype == torch.float64
    assert right.tolist() == (better.argmax(1) == labels).tolist()
    assert difference == pytest.approx((first.mean() - second.mean()).item())
    assert difference < -5 * error  # though the unpaired errors are larger than it
    assert abs(difference) < math.hypot(first.std(), second.std()) / math.sqrt(200)
