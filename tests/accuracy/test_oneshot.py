"""The judge that trains one supernet and scores all networks by it."""

from __future__ import annotations

import math
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from stripes import BUDGET, CPU, DATA, SHORT, SPACE, TRAINING, archs, batches

from nas.accuracy import oneshot
from nas.accuracy.judge import JudgeContext
from nas.accuracy.oneshot import OneShot, OneShotSettings
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.space.trellis.trellis import Trellis
from nas.supernet.scoring import Tree, subnet_losses
from nas.supernet.supernet import Supernet
from nas.training.evaluation import TrainingFailed, paired_difference


def test_scores_are_those_of_each_network_alone_in_any_order_and_threads():
    supernet, many = Supernet(SPACE, seed=0), archs(12)
    val = batches(DATA.val, shuffle=False, size=25)
    together, _ = subnet_losses(supernet, many, val, device=CPU, precision="fp32")
    threaded, _ = subnet_losses(supernet, many, val, device=CPU, precision="fp32", threads=2)
    assert torch.equal(together, threaded)
    for arch, losses in zip(many, together, strict=True):
        alone, _ = subnet_losses(supernet, [arch], val, device=CPU, precision="fp32")
        assert torch.equal(alone[0], losses)
    turned, _ = subnet_losses(supernet, many[::-1], val, device=CPU, precision="fp32")
    assert torch.equal(turned.flip(0), together)


def test_common_beginnings_are_shared():
    rows = [("a", "b", "c"), ("a", "b"), ("a", "x"), ("a", "b", "c")]
    tree = Tree.of(rows)
    assert list(tree.next) == ["a"]
    assert list(tree.next["a"].next) == ["b", "x"]
    assert tree.next["a"].next["b"].ends == [1]
    assert tree.next["a"].next["b"].next["c"].ends == [0, 3]


@pytest.fixture(scope="module")
def judge() -> OneShot:
    budget = replace(BUDGET, training=replace(TRAINING, epochs=6))
    return OneShotSettings(budget).open(JudgeContext(SPACE, lambda: DATA, "cpu", seed=1))


def test_the_judge_scores_alone_as_together_and_remembers(judge):
    first, second = archs(2)
    ((_, alone),) = judge.estimate([first])
    ((_, again), (_, other)) = judge.estimate([first, second])
    assert again is alone
    assert judge.weights.mean().item() == pytest.approx(1)
    weighed = judge.known[network_id(first)][1]
    assert alone.value == pytest.approx(-weighed.mean().item())
    assert alone.standard_error == pytest.approx(weighed.std(correction=0).item() / 50**0.5)
    assert alone.standard_error > 0
    assert alone.val.num_images == 50
    assert alone.fidelity == "supernet"
    difference, error = judge.difference(first, second)
    assert difference == pytest.approx(alone.value - other.value)
    losses = [judge.known[key][1] for key in judge.known]
    assert error == pytest.approx(paired_difference(*losses)[1])
    assert judge.history.checks[-1].agreement <= 1


def test_a_network_whose_answers_are_not_finite_fails_alone(monkeypatch):
    judge = OneShotSettings(SHORT).open(JudgeContext(SPACE, lambda: DATA, "cpu", seed=1))
    first, second = archs(2)
    spoilt, known = network_id(first), judge._losses

    def losses(asked):
        found, right = known(asked)
        for row, arch in zip(found, asked, strict=True):
            row[3] = math.nan if network_id(arch) == spoilt else row[3]
        return found, right

    monkeypatch.setattr(judge, "_losses", losses)
    failed, estimate = (found for _, found in judge.estimate([first, second]))
    assert failed.reason == ("TrainingFailed: the network answers with numbers that are not finite")
    assert math.isfinite(estimate.value)


def test_too_little_memory_for_scoring_is_one_line(monkeypatch):
    judge = OneShotSettings(SHORT).open(JudgeContext(SPACE, lambda: DATA, "cpu", seed=1))
    error = TrainingFailed("out_of_memory", "out of memory while scoring: less")
    monkeypatch.setattr(oneshot, "subnet_losses", Mock(side_effect=error))
    with pytest.raises(UserError, match=r"^networks cannot be scored like this: out of memory"):
        list(judge.estimate(archs(2)))


def test_a_supernet_that_cannot_be_trained_is_one_line(monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", 1)
    spoilt = replace(DATA, mean=(math.nan, 0.0))
    with pytest.raises(UserError, match=r"^the supernet cannot be trained like this: .* the 6th"):
        OneShotSettings(SHORT).open(JudgeContext(SPACE, lambda: spoilt, "cpu", seed=1))


def test_a_judge_for_a_part_of_the_space_trains_no_other_networks():
    trellis = Trellis(SPACE)

    def feasible(genomes):  # 3x3 kernels only
        return np.array([p["stages.0.blocks.kernel"] == 3 for p in trellis.decode(genomes)])

    context = JudgeContext(SPACE, lambda: DATA, "cpu", seed=1, feasible=feasible)
    judge = OneShotSettings(SHORT).open(context)
    fresh = dict(Supernet(SPACE, seed=1).named_parameters())
    outer = [
        (weight[:, :, 0], fresh[name][:, :, 0])
        for name, weight in judge.supernet.named_parameters()
        if name.startswith("places.stage1") and weight.shape[-1] == 5
    ]
    assert outer
    # weight decay alone shrinks what no network uses
    assert all(torch.allclose(now / now.norm(), was / was.norm(), atol=1e-5) for now, was in outer)


def test_what_the_judge_extracts_answers_alone(judge):
    net = judge.extract_network(archs(1)[0])
    assert not net.training
    images, labels = next(batches(DATA.val, shuffle=False, size=50).epoch(0))
    with torch.inference_mode():
        together = net(images)
        one = net(images[:1])
    assert torch.allclose(together[:1], one, atol=1e-4)
    assert (together.argmax(1) == labels).float().mean() > 0.6
