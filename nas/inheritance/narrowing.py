"""The weights of a trained network in one of the same rows with fewer channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import BatchNorm2d

from nas.arch.arch import Arch
from nas.arch.layers import Conv, Linear, Operator, SqueezeExcite, layer_role
from nas.arch.operators import operators
from nas.inheritance.surgery import copy_rest, cut_gate
from nas.network.modules import (
    ConvNormAct,
    LinearAct,
    Network,
    OperatorModule,
    SqueezeExciteGate,
    build,
)


def narrowed(net: Network, arch: Arch, new: Arch) -> Network:
    """The network of `new` with weights of `net`, the trained network of `arch`.

    The rows must be the same, none with more channels (`nas.search.netadapt.fits`).  Of a
    bottleneck the channels are kept whose factors in the batch norm are largest (Network Slimming,
    Liu et al. 2017, section 3), by the sum of squares over all rows that write it; of hidden
    channels see `hidden_scores`.  By the l2 norm of filters, as NetAdapt chooses them (Yang et al.
    2018, section 3.3), expansions cost twice the cross-entropy before any training on: 0.10 to
    0.50 nats in place of 0.05 to 0.20, in the means of four networks of the default search.
    """
    out, rows = build(new, seed=0), operators(arch)
    bottlenecks = shared_outputs(rows)
    squares: dict[str, Tensor] = {}
    for row, joined in zip(rows, bottlenecks, strict=True):
        last = _row(net, row).get_submodule(layer_role(row.layers[-1]))
        if isinstance(norm := getattr(last, "bn", None), BatchNorm2d):
            squares[joined] = squares.get(joined, 0) + norm.weight.detach() ** 2
    channels = torch.arange(arch.channels)
    with torch.no_grad():
        for row, joined in zip(operators(new), bottlenecks, strict=True):
            kept = torch.arange(row.cout)
            if joined in squares:
                kept = largest(squares[joined], row.cout)
            _copy_row(_row(net, row), row, _row(out, row), channels, kept)
            channels = kept
    return out


def shared_outputs(rows: Sequence[Operator]) -> list[str]:
    """Of each row the place that first wrote the channels which it puts out.

    That is its own, or where it adds to its input or only moves channels, that of its input.
    """
    found: list[str] = []
    for row in rows:
        found.append(found[-1] if row.residual or not writes(row) else row.place)
    return found


def writes(row: Operator) -> bool:
    """Whether the row ends in a layer that makes new channels of all it reads."""
    last = row.layers[-1]
    return isinstance(last, Linear) or (isinstance(last, Conv) and last.groups == 1)


def hidden_scores(module: OperatorModule) -> Tensor:
    """How much each channel moves what the row's last convolution puts out: (hidden,).

    Its factor in the last batch norm before, times the l2 norm of the weights that read it.
    """
    *_, before, last = (x for x in module.children() if isinstance(x, ConvNormAct))
    reading = last.conv.weight.flatten(2).square().sum((0, 2)).sqrt()
    return cast(BatchNorm2d, before.bn).weight.abs() * reading


def largest(scores: Tensor, number: int) -> Tensor:
    """Indices of the `number` largest, in order: (number,)."""
    return scores.topk(number).indices.sort().values


def _row(net: Network, row: Operator) -> OperatorModule:
    return cast(OperatorModule, net.get_submodule(row.place))


def _copy_row(
    given: OperatorModule, row: Operator, module: OperatorModule, channels: Tensor, kept: Tensor
) -> None:
    """Copy into `module` what reads the given row's inputs `channels` and writes `kept`."""
    for layer in row.layers:
        old, new = (net.get_submodule(layer_role(layer)) for net in (given, module))
        match layer:
            case Conv():
                old, new = cast(ConvNormAct, old), cast(ConvNormAct, new)
                weight = old.conv.weight
                if layer.groups == 1:
                    weight = weight[:, channels]
                    is_last = layer is row.layers[-1]
                    channels = kept if is_last else largest(hidden_scores(given), layer.cout)
                new.conv.weight.copy_(weight[channels])
                copy_rest(old, new, channels)
            case SqueezeExcite():
                cut_gate(cast(SqueezeExciteGate, new), cast(SqueezeExciteGate, old), channels)
            case Linear():
                old, new = cast(LinearAct, old), cast(LinearAct, new)
                new.linear.weight.copy_(old.linear.weight[:, channels])
                new.linear.bias.copy_(old.linear.bias)
