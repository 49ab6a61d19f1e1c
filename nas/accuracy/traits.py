"""Numbers that any network has, whatever its space: what it is made of, and where.

Places of a space tell its own networks apart (`nas.accuracy.correction.features`); these compare
networks of different spaces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.layers import FIRST_DEPTHWISE, Conv, Linear, Operator, SqueezeExcite
from nas.arch.operators import operators

SMOOTH = ("hswish", "swish")
OF_BLOCKS = ("width", "expand", "kernel", "se", "smooth", "relu6")


def traits(arch: Arch) -> dict[str, float]:
    """The numbers by name, those of sizes as log2; the same names for every network.

    ends_*    shares of the activations of stem and head, ends_smooth of h-swish or swish
    *_late    by how much a number of blocks grows with depth
    A block without layers, which a space left out, does not count.
    """
    rows, counts = operators(arch), cost(arch)
    blocks = [row for row in rows if row.place.startswith("stage")]
    ends = [act for row in rows if row not in blocks for act in _activations(row)]
    found = {
        "macs": math.log2(counts.macs),
        "params": math.log2(counts.params),
        "blocks": float(len(blocks)),
        "residual": _mean([float(row.residual) for row in blocks]),
        "reduction": math.log2(arch.resolution / blocks[-1].side_out) if blocks else 0.0,
        "last_width": math.log2(blocks[-1].cout) if blocks else 0.0,
        "head_width": math.log2(rows[-1].cin),
        "ends_smooth": _mean([float(act in SMOOTH) for act in ends]),
        "ends_relu6": _mean([float(act == "relu6") for act in ends]),
    }
    each = [_of_block(row) for row in blocks]
    for i, name in enumerate(OF_BLOCKS):
        values = [block[i] for block in each]
        found |= {name: _mean(values), f"{name}_late": _mean(list(_by_depth(values)))}
    return found


def _of_block(row: Operator) -> tuple[float, ...]:
    """OF_BLOCKS of one: sizes as log2, the kernel in pixels, the others from 0 to 1."""
    kernels, hidden, squeeze = shape_of(row)
    acts = list(_activations(row))
    smooth, relu6 = (_mean([float(a in kind) for a in acts]) for kind in (SMOOTH, ("relu6",)))
    return (math.log2(row.cout), hidden, kernels[-1], float(squeeze), smooth, relu6)


def _by_depth(values: list[float]) -> Iterator[float]:
    """Each value times its block's place, from -2 to 2: their mean is about the slope by depth."""
    return (value * (4 * (i + 0.5) / len(values) - 2) for i, value in enumerate(values))


def _mean(values: list[float]) -> float:
    return fmean(values) if values else 0.0


def _activations(row: Operator) -> Iterator[str]:
    """Of its convolutions and linear layers, those of squeeze-and-excitation apart."""
    return (x.act for x in row.layers if isinstance(x, Conv | Linear) and x.act)


def shape_of(row: Operator) -> tuple[tuple[float, ...], float, bool]:
    """Kernels of a row, log2 of its most channels over those it takes, whether it has SE.

    The kernels are the largest, and before it that of a depthwise convolution which comes first.
    """
    convs = [layer for layer in row.layers if isinstance(layer, Conv)]
    first = tuple(conv.kernel for conv in convs if conv.role == FIRST_DEPTHWISE)
    largest = max((conv.kernel for conv in convs if conv.role != FIRST_DEPTHWISE), default=0)
    widest = max([layer.cout for layer in row.layers if isinstance(layer, Conv | Linear)] or [1])
    excites = any(isinstance(layer, SqueezeExcite) for layer in row.layers)
    return (*first, largest), math.log2(widest / row.cin), excites
