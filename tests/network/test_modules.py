"""Torch modules: shapes, initial weights, what differs between training and use."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from spaces import SPACES
from torch import nn

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.layers import layer_role, same_padding
from nas.network.modules import build
from nas.space.choices import fill, random_picks
from search_spaces.lookup import PUBLISHED


@pytest.mark.parametrize("name", SPACES)
def test_random_networks_train_and_answer(name, rng):
    space = SPACES[name]
    arch = replace(fill(space, random_picks(space, rng)), resolution=32, drop_path=0.2)
    net = build(arch, seed=0)
    out = net(torch.randn(2, arch.channels, 32, 32))
    assert out.shape == (2, arch.classes)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_one_seed_one_network_and_no_global_state_touched(monkeypatch):
    arch = PUBLISHED["mobilenet_v3_small"]
    torch.manual_seed(5)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("a GPU's generator"))
    before = torch.get_rng_state()
    first, second = build(arch, seed=1), build(arch, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    other = build(arch, seed=2).state_dict()
    assert not torch.equal(
        first.state_dict()["stem.conv.conv.weight"], other["stem.conv.conv.weight"]
    )


def test_initial_scales_are_tensorflows():
    net = build(PUBLISHED["efficientnet_b0"], seed=0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            fan_out = math.prod(module.kernel_size) * module.out_channels / module.groups
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
    weight = net.classifier.linear.linear.weight
    assert weight.abs().max().item() == pytest.approx(1 / math.sqrt(1000), rel=1e-3)


@pytest.mark.parametrize("side", range(1, 40))
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_gives_the_size_that_the_layers_say(side, kernel, stride):
    before, after = same_padding(side, kernel, stride)
    assert 0 <= after - before <= 1
    assert (side + before + after - kernel) // stride + 1 == -(-side // stride)


def test_paddings_differ_only_where_tensorflow_is_asymmetric():
    arch = PUBLISHED["mobilenet_v2_0.35"]
    for side, same in ((97, True), (96, False)):
        nets = [build(replace(arch, padding=p), seed=0).eval() for p in ("symmetric", "same")]
        x = torch.randn(1, 3, side, side)
        with torch.inference_mode():
            assert torch.allclose(*(net(x) for net in nets), atol=1e-5) == same


def test_stochastic_depth_keeps_the_mean_and_is_off_in_use():
    block = Block(expand=2)
    arch = Arch((Stage(8, 3, 1, block),), Stem(8), Head(0, dropout=0.0), 16, drop_path=0.9)
    net = build(arch, seed=0)
    row = net.get_submodule("stage1_block3")
    assert row.drop_path == pytest.approx(0.9 * 2 / 3)
    x = torch.randn(4000, 8, 4, 4)
    with torch.inference_mode():
        row.eval()
        full = row(x) - x
        assert torch.equal(row(x), row(x))
        row.train()
        for m in row.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        dropped = row(x) - x
    kept = dropped.abs().sum((1, 2, 3)) > 0
    assert kept.float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert torch.allclose(dropped[kept], full[kept] / 0.4, atol=1e-4)


@pytest.mark.parametrize("keep", [0.999, 0.9])
def test_stochastic_depth_is_as_likely_in_bfloat16(keep):
    """Numbers drawn in bfloat16 would all be below 0.999."""
    block = Block(expand=1)
    arch = Arch((Stage(8, 2, 1, block),), Stem(8), Head(0), 4)
    row = next(row for row in build(arch) if row.residual)
    for layer in row.layers:
        row.add_module(layer_role(layer), nn.Identity())  # a branch of ones
    row.drop_path = 1 - keep
    out = row(torch.ones(200_000, 1, 1, 1, dtype=torch.bfloat16)) - 1
    assert out.dtype == torch.bfloat16
    kept = (out > 0).double().mean().item()
    assert kept == pytest.approx(keep, abs=5 * math.sqrt(keep * (1 - keep) / 200_000))
