"""Networks judged in 8 bits: what ONNX Runtime answers, and not torch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from stripes import DATA, TRAINING, archs

from nas.accuracy.quantized import answers_in_int8
from nas.accuracy.scratch import Scratch
from nas.data.batches import batches_for
from nas.network.modules import build
from nas.training.evaluation import image_losses


def data():
    return DATA


def test_answers_are_those_of_the_network_but_for_rounding():
    arch, device = archs(1)[0], torch.device("cpu")
    batches = partial(batches_for, DATA, side=arch.resolution, device=device)
    net = build(arch, seed=0).eval()
    inside = answers_in_int8(net, arch, batches("train", batch_size=16))
    losses, correct = inside(batches("val"))
    whole, right = image_losses(net, batches("val"), device=device)
    assert losses.shape == whole.shape
    assert losses.dtype == whole.dtype
    assert torch.corrcoef(torch.stack([losses, whole]))[0, 1] > 0.95
    assert not torch.equal(losses, whole)
    assert (correct == right).double().mean() > 0.8


def test_a_judge_scores_in_the_precision_of_the_device():
    arch = archs(1)[0]
    whole = Scratch.open(data, TRAINING, "cpu", 0)(arch)
    rounded = Scratch.open(data, TRAINING, "cpu", 0, precision="int8")(arch)
    assert whole.float_val is None
    assert rounded.float_val == whole.val
    assert rounded.val != whole.val
    assert rounded.value == -rounded.val.cross_entropy
    assert abs(rounded.val.accuracy - whole.val.accuracy) < 0.1
    untested = replace(Scratch.open(data, TRAINING, "cpu", 0, precision="int8"), test=False)
    assert untested(arch).test is None
