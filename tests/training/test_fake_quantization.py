"""Training with rounding: what is rounded, how gradients pass, what is left."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.network.modules import build
from nas.training.fake_quantization import RoundedWeight, rounded

TINY = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=3, classes=5)


def test_weights_have_a_step_for_each_output_channel():
    weight = torch.randn(6, 3, 3, 3) * torch.logspace(-2, 2, 6)[:, None, None, None]
    out = RoundedWeight()(weight)
    step = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((out - weight).abs() <= step / 2 * 1.001).all()
    whole = out / step
    assert torch.allclose(whole, whole.round(), atol=1e-3)


def test_gradients_pass_as_if_nothing_was_rounded():
    weight = torch.randn(4, 2, 1, 1, requires_grad=True)
    factors = torch.randn(4, 2, 1, 1)
    (RoundedWeight()(weight) * factors).sum().backward()
    assert torch.allclose(weight.grad, factors)


def test_a_network_computes_with_rounding_inside_the_block_only():
    net, images = build(TINY, seed=0).eval(), torch.randn(16, 3, 20, 20)
    before, weights = net(images), copy.deepcopy(net.state_dict())
    with rounded(net, images.split(8)):
        inside = net(images)
        assert not torch.equal(inside, before)
        assert (inside - before).square().mean().sqrt() < 0.1 * before.std()
        levels = net[0](images)
        assert len(levels.unique()) <= 256
    assert torch.equal(net(images), before)
    assert all(torch.equal(weights[name], t) for name, t in net.state_dict().items())


def test_what_is_trained_inside_stays():
    net, images = build(TINY, seed=0).eval(), torch.randn(16, 3, 20, 20)
    before = copy.deepcopy(net.state_dict())
    with rounded(net, [images]):
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        net(images).square().mean().backward()
        optimizer.step()
    after = net.state_dict()
    assert after.keys() == before.keys()
    convolutions = [name for name in after if name.endswith("conv.weight")]
    assert all(not torch.equal(before[name], after[name]) for name in convolutions)


def test_the_block_cleans_up_after_an_error():
    net, images = build(TINY, seed=0), torch.randn(4, 3, 20, 20)
    with pytest.raises(KeyboardInterrupt), rounded(net, [images]):
        raise KeyboardInterrupt
    assert not any(nn.utils.parametrize.is_parametrized(module) for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
