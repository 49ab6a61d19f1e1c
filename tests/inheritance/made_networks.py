"""Every kind of block with made weights, and small networks, as if they were trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block, block_row
from nas.arch.layers import Conv, Operator
from nas.arch.operators import operators
from nas.arch.serialization import dumps
from nas.inheritance.replacements import Images, Replacement, score_blocks, study_blocks
from nas.network.modules import Network, OperatorModule, build, initialise
from search_spaces.inherited import at_resolution, inherited, place_of, replacement_rows

V3_SE = Block(
    expand=4, kernel=5, se=0.25, se_from="expanded", se_gate="hsigmoid", se_act="relu", act="hswish"
)
# A block, its input and output channels, its stride.
KINDS: dict[str, tuple[Block, int, int, int]] = {
    "expanded": (Block(expand=4, kernel=5), 8, 8, 1),
    "expanded, strided": (Block(expand=4), 8, 16, 2),
    "expanded, relu6, not residual": (Block(expand=4, act="relu6", skip=False), 8, 8, 1),
    "not expanded": (Block(expand=1, kernel=5, act="hswish"), 16, 16, 1),
    "not expanded, strided": (Block(expand=1, act="relu6"), 16, 8, 2),
    "se of the input": (Block(expand=4, se=0.25, act="swish"), 8, 8, 1),
    "se of the input, not expanded": (Block(expand=1, se=0.25, act="swish"), 16, 8, 1),
    "se of the hidden channels": (V3_SE, 8, 8, 1),
    "se of the hidden channels, strided": (V3_SE, 8, 16, 2),
    "fused": (Block("fused", expand=4, act="swish"), 8, 8, 1),
    "fused, strided, se": (Block("fused", expand=4, kernel=5, se=0.5, act="hswish"), 8, 16, 2),
    "fused, not expanded": (Block("fused", expand=1, act="swish"), 8, 8, 1),
    "fused, not expanded, large kernel": (Block("fused", expand=1, kernel=5), 8, 8, 1),
    "uib": (Block("uib", expand=4, kernel=5, first_kernel=3, act="hswish"), 8, 8, 1),
    "uib, first kernel alone, strided": (Block("uib", 0, 4, first_kernel=5), 8, 16, 2),
    "uib, without kernels": (Block("uib", 0, expand=4), 8, 8, 1),
    "uib, without kernels, strided": (Block("uib", 0, expand=4), 8, 16, 2),
    "separable": (Block("separable", kernel=5, act="relu6", skip=False), 8, 16, 1),
    "separable, strided, se": (Block("separable", se=0.5, act="relu"), 8, 16, 2),
    "conv": (Block("conv", kernel=5, act="hswish"), 8, 8, 1),
    "conv, strided": (Block("conv", act="relu"), 8, 16, 2),
}


def row_of(name: str, side: int) -> Operator:
    block, cin, cout, stride = KINDS[name]
    row = block_row("stage1_block2", block, cin, cout, stride, side)
    assert row
    return row


def randomise(module: nn.Module, draws: torch.Generator) -> None:
    """Weights as at the start of a training; norms and biases as if one had been."""

    def rand(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=draws)

    with torch.no_grad():
        for child in module.modules():
            initialise(child)
            if isinstance(child, nn.BatchNorm2d):
                child.weight.copy_(rand(child.weight, 0.5, 1.5))
                child.bias.copy_(rand(child.bias, -0.5, 0.5))
            elif getattr(child, "bias", None) is not None:
                child.bias.copy_(rand(child.bias, -0.5, 0.5))


def settle(module: nn.Module, x: Tensor, draws: torch.Generator) -> nn.Module:
    """Running statistics near those of x, and not quite: in evaluation mode."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    moments = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        module.train()(x.clone())
        for norm, momentum in zip(norms, moments, strict=True):
            norm.momentum = momentum
            noise = torch.randn(norm.running_mean.shape, generator=draws)
            norm.running_mean.add_(0.3 * noise * norm.running_var.sqrt())
            norm.running_var.mul_(0.5 + torch.rand(norm.running_var.shape, generator=draws))
    return module.eval()


def made_block(row: Operator, padding: str = "symmetric", seed: int = 0) -> OperatorModule:
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    module = OperatorModule(row, padding, 1e-5, 0.1)
    randomise(module, draws)
    settle(module, maps_of(row, 40, seed + 1), draws)
    return module


def maps_of(row: Operator, number: int, seed: int) -> Tensor:
    """Maps (number, cin, side, side) as another block might put them out, some brighter."""
    draws = torch.Generator().manual_seed(seed)
    light = 0.5 + torch.rand(number, row.cin, 1, 1, generator=draws)
    return light * torch.randn(number, row.cin, row.side, row.side, generator=draws) + light


def made_network(arch: Arch, seed: int = 0) -> Network:
    draws = torch.Generator().manual_seed(seed)
    net = build(arch, seed=seed)
    torch.manual_seed(seed)
    randomise(net, draws)
    settle(net, pictures(arch, 64, seed + 1), draws)
    return net


def pictures(arch: Arch, number: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    small = torch.randn(number, arch.channels, 4, 4, generator=draws)
    side = arch.resolution
    return nn.functional.interpolate(small, (side, side), mode="bicubic")


def batches_of(x: Tensor, size: int = 40) -> Images:
    """The pictures in batches, in the memory layout of a training on a CPU."""

    def images() -> Iterator[Tensor]:
        return (part.contiguous(memory_format=torch.channels_last) for part in x.split(size))

    return images


NETWORKS: dict[str, Arch] = {
    "mobilenet_v2": Arch(
        (
            Stage(8, 1, 1, Block(expand=1, act="relu6")),
            Stage(16, 2, 2, Block(expand=4, act="relu6")),
            Stage(16, 2, 2, Block(expand=4, kernel=5, act="relu6")),
        ),
        Stem(8, act="relu6"),
        Head(32, act="relu6"),
        resolution=32,
        classes=5,
    ),
    "mobilenet_v3": Arch(
        (
            Stage(8, 1, 1, Block(expand=1, act="relu")),
            Stage(16, 2, 2, V3_SE),
            Stage(16, 1, 1, Block(expand=2.5, act="hswish")),
        ),
        Stem(8, act="hswish"),
        Head(32, act="hswish", hidden=24),
        resolution=24,
        channels=1,
        classes=5,
        bn_eps=1e-3,
    ),
    "fused": Arch(
        (
            Stage(8, 2, 1, Block("fused", expand=1, act="swish")),
            Stage(16, 2, 2, Block("fused", expand=4, act="swish")),
            Stage(24, 2, 2, Block(expand=4, se=0.25, act="swish")),
            Stage(24, 1, 1, Block("separable", act="swish")),
        ),
        Stem(8, act="swish"),
        Head(32, act="swish"),
        resolution=16,
        classes=5,
        padding="same",
    ),
    "uib": Arch(
        (
            Stage(8, 1, 2, Block("fused", expand=4)),
            Stage(16, 2, 2, Block("uib", kernel=5, expand=3, first_kernel=3)),
            Stage(16, 2, 1, (Block("uib", 0, 4, first_kernel=5), Block("uib", 0, 2))),
        ),
        Stem(8),
        Head(32, hidden=24, hidden_layer="conv_norm"),
        resolution=32,
        classes=5,
    ),
}
PARTS, KERNELS = (0.75, 0.5, 0.25), (3, 5)


def space_of(arch: Arch, folder: Path, *sides: int) -> Arch:
    """The space of what the network can shrink to."""
    path = folder / "network.yaml"
    path.write_text(dumps(arch))
    sides = sides or (arch.resolution,)
    return inherited(str(path), sides, PARTS, KERNELS, arch.channels, arch.classes)


def table_of(
    net: Network, space: Arch, side: int, images: Images
) -> Mapping[str, list[Replacement]]:
    """All replacements of all blocks, scored on the pictures that they were fitted to."""
    rows = replacement_rows(space, side)
    wanted = {place_of(key): [row for row in known.values() if row] for key, known in rows.items()}
    return dict(
        score_blocks(net, study_blocks(net, at_resolution(space, side), wanted, images), images)
    )


def last_layer(row: Operator) -> Conv:
    layer = row.layers[-1]
    assert isinstance(layer, Conv)
    return layer


def row_at(arch: Arch, place: str) -> Operator:
    return next(row for row in operators(arch) if row.place == place)
