"""What a network costs, by arithmetic on its layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

from nas.arch.arch import Arch
from nas.arch.layers import (
    Concat,
    Conv,
    Dropout,
    Join,
    Layer,
    Linear,
    MaxPool,
    Merge,
    Operator,
    PerAnchor,
    Pool,
    Read,
    Resize,
    Shuffle,
    Split,
    SqueezeExcite,
)
from nas.arch.operators import operators

BYTES_PER_ACTIVATION = 2  # MobileNetV2, Table 3: "16-bit floats for activations"


@dataclass(frozen=True, slots=True)
class Cost:
    """Counts for one image.

    macs          multiply-adds of convolutions and linear layers; no norm, bias, activation,
                  pooling, resizing or gating (torch's FlopCounterMode counts exactly twice this).
    params        trainable parameters, norms and biases included, running statistics not.
    activations   elements that convolutions and linear layers put out (pycls's count).
    peak_memory_bytes   the largest output of a block or of the head, as MobileNetV2 counts it
                  (Sandler et al. 2018, Table 3: MobileNetV1 1600 KB, MobileNetV2 400 KB at 224
                  pixels); the stem, as in the table, counts with the block that follows it.
    """

    macs: int
    params: int
    activations: int
    peak_memory_bytes: int


def layer_cost(layer: Layer) -> tuple[int, int, int]:
    """(macs, params, activations) of one layer."""
    match layer:
        case Conv():
            weights = layer.cout * (layer.cin // layer.groups) * layer.kernel * layer.kernel
            pixels = layer.side_out * layer.side_out
            # a norm has a weight and a bias, a convolution without norm has a bias
            extra = layer.cout * (2 if layer.norm else layer.bias)
            return weights * pixels, weights + extra, layer.cout * pixels
        case SqueezeExcite():
            weights = 2 * layer.channels * layer.squeeze
            both = layer.channels + layer.squeeze
            return weights, weights + both, both
        case Linear():
            weights = layer.cin * layer.cout
            return weights, weights + layer.cout, layer.cout
        case Pool() | MaxPool() | Dropout() | Split() | Concat() | Shuffle():
            return 0, 0, 0
        case Read() | Merge() | Resize() | PerAnchor() | Join():
            return 0, 0, 0
    assert_never(layer)


@lru_cache(maxsize=65536)
def layers_cost(layers: tuple[Layer, ...]) -> tuple[int, int, int]:
    """(macs, params, activations) of layers in sequence."""
    macs, params, activations = zip(*map(layer_cost, layers), strict=True)
    return sum(macs), sum(params), sum(activations)


def output_bytes(row: Operator) -> int:
    """Bytes of the row's output as MobileNetV2's Table 3 counts them; 0 for the stem."""
    return 0 if row.is_stem else row.cout * row.side_out**2 * BYTES_PER_ACTIVATION


def cost(arch: Arch) -> Cost:
    """The cost of the whole network for one image at its resolution."""
    rows = operators(arch)
    macs, params, activations = zip(*(layers_cost(row.layers) for row in rows), strict=True)
    memory = max(output_bytes(row) for row in rows)
    return Cost(sum(macs), sum(params), sum(activations), peak_memory_bytes=memory)


def describe_network(arch: Arch, origin: str) -> str:
    """A network in one line."""
    counts = cost(arch)
    return (
        f"{arch.name} ({origin}) · {arch.resolution}x{arch.resolution}x{arch.channels} · "
        f"{counts.macs / 1e6:.4g} M MACs · {counts.params / 1e6:.4g} M parameters"
    )
