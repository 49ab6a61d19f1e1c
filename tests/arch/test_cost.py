"""Two roads to one number: arithmetic here, torch's own counter on the meta device there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from spaces import SPACES
from torch.utils.flop_counter import FlopCounterMode

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.network.modules import build
from nas.space.choices import fill, random_picks
from search_spaces.lookup import PUBLISHED


def counted(arch: Arch) -> tuple[int, int]:
    """(operations by FlopCounterMode, parameters) of the torch module, without its numbers."""
    with torch.device("meta"):
        net = build(arch).eval()
        image = torch.empty(1, arch.channels, arch.resolution, arch.resolution)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(image)
    return counter.get_total_flops(), sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", SPACES)
def test_random_networks_of_every_space(name, rng):
    space = SPACES[name]
    for _ in range(12):
        arch = fill(space, random_picks(space, rng))
        ours = cost(arch)
        assert counted(arch) == (2 * ours.macs, ours.params)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("op", ["fused", "conv", "separable", "identity", "mbconv"])
def test_every_operation(op, padding, rng):
    block = Block(op, 5, 2.3, 0.25, "swish", "expanded", "hsigmoid", "relu")
    arch = Arch(
        (Stage(24, 2, 2, block), Stage(24, 2, 1, (block, replace(block, se=0)))),
        Stem(12, 5), Head(0, hidden=7, hidden_layer="conv"), 33, 2, 5, padding,
    )  # fmt: skip
    ours = cost(arch)
    assert counted(arch) == (2 * ours.macs, ours.params)


def test_activations_count_what_convolutions_put_out():
    arch = Arch((Stage(8, 1, 2, Block("conv")),), Stem(4, stride=1), Head(0), 8, 1, 10)
    assert cost(arch).activations == 4 * 8 * 8 + 8 * 4 * 4 + 10


def test_memory_is_the_largest_block_output_at_16_bit():
    base = PUBLISHED["efficientnet_b0"]
    assert cost(base).peak_memory_bytes == 112 * 112 * 16 * 2
    assert cost(replace(base, resolution=448)).peak_memory_bytes == 4 * 112 * 112 * 16 * 2


def test_equal_costs_whatever_the_order_of_questions():
    arch = PUBLISHED["mobilenet_v3_small"]
    before = cost(arch)
    cost(replace(arch, resolution=64))
    assert cost(arch) == before
