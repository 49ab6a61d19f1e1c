"""One row of a network at a time: what its last convolution reads, a smaller row in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.arch.layers import FIRST_DEPTHWISE, Conv, Operator, same_padding
from nas.inheritance.least_squares import Moments
from nas.network.device import to_device
from nas.network.modules import ConvNormAct, OperatorModule, SqueezeExciteGate

CHOICE_RIDGE = 1e-2  # of the mean variance, towards the weights at hand, where channels are chosen
SPATIAL = frozenset(("depthwise", "fused", "conv"))  # roles of a block's own kernel
DEAD = 1e-3  # a norm's factor under which a channel is given one of its own

Norm = tuple[str, float, float]  # padding, eps and momentum of a network's rows


def layers_of(module: OperatorModule) -> dict[str, nn.Module]:
    """The layers of a row by role."""
    return dict(module.named_children())


def last_conv(module: OperatorModule) -> ConvNormAct:
    """The convolution that ends a row: the projection of an inverted residual."""
    return cast(ConvNormAct, list(module.children())[-1])


def features(module: OperatorModule, x: Tensor) -> Tensor:
    """What the last convolution of the row reads of x (N, cin, H, W): (N, hidden, h, w)."""
    for layer in list(module.children())[:-1]:
        x = layer(x)
    return x


def columns(last: ConvNormAct, x: Tensor) -> Tensor:
    """x (N, C, H, W) as the rows of a linear map: (N, outputs' pixels, C * k * k)."""
    kernel, stride = last.conv.kernel_size[0], last.conv.stride[0]
    if kernel == 1:
        return x[:, :, ::stride, ::stride].flatten(2).transpose(1, 2)
    pad = last.conv.padding[0]
    assert isinstance(pad, int)
    sides = [same_padding(s, kernel, stride) if last.same else (pad, pad) for s in x.shape[-2:]]
    x = F.pad(x, (*sides[1], *sides[0]))
    return F.unfold(x, kernel, last.conv.dilation[0], stride=stride).transpose(1, 2)


def folded(last: ConvNormAct) -> tuple[Tensor, Tensor]:
    """The convolution with its norm as a linear map: W (C * k * k, cout) and c (cout,), double."""
    weight = exact(last.conv.weight).flatten(1)  # (cout, C * k * k)
    if not isinstance(last.bn, nn.BatchNorm2d):
        return weight.T, exact(last.conv.bias)
    factor, mean = norm_factor(last.bn), exact(last.bn.running_mean)
    return (weight * factor[:, None]).T, exact(last.bn.bias) - mean * factor


def exact(tensor: Tensor | None) -> Tensor:
    """The values in double precision, on the CPU."""
    assert tensor is not None
    return tensor.detach().cpu().double()


def norm_factor(norm: nn.BatchNorm2d) -> Tensor:
    """By what the norm multiplies each channel in evaluation mode, double."""
    return exact(norm.weight) / (exact(norm.running_var) + norm.eps).sqrt()


def unfold_into(last: ConvNormAct, weight: Tensor, offset: Tensor) -> None:
    """Set the convolution to the linear map W (C * k * k, cout), c (cout,), in place.

    The norm keeps its factor, so that the weights keep their scale for whatever trains them on;
    its running mean takes the offset.
    """
    with torch.no_grad():
        if isinstance(last.bn, nn.BatchNorm2d):
            factor = norm_factor(last.bn)
            if (dead := factor.abs() < DEAD).any():
                spread = (exact(last.bn.running_var) + last.bn.eps).sqrt()
                last.bn.weight.copy_(torch.where(dead, spread, exact(last.bn.weight)))
                factor = norm_factor(last.bn)
            weight = weight / factor
            last.bn.get_buffer("running_mean").copy_((exact(last.bn.bias) - offset) / factor)
        else:
            last.conv.get_parameter("bias").copy_(offset)
        last.conv.weight.copy_(weight.T.reshape(last.conv.weight.shape))


def cropped(weight: Tensor, kernel: int) -> Tensor:
    """The middle of a kernel: (O, I, K, K) -> (O, I, k, k)."""
    margin = (weight.shape[-1] - kernel) // 2
    return weight[..., margin : margin + kernel, margin : margin + kernel]


@dataclass
class GateMoments:
    """What squeeze-and-excitation does: its two convolutions as least squares problems."""

    reduce: Moments
    expand: Moments

    @classmethod
    def of(cls, gate: SqueezeExciteGate) -> GateMoments:
        """Empty ones of that gate's sizes."""
        squeeze, channels = gate.reduce.weight.shape[:2]
        return cls(Moments(channels, squeeze), Moments(squeeze, channels))

    def add(self, gate: SqueezeExciteGate, x: Tensor) -> None:
        """Take the gates of x (N, channels, H, W)."""
        pooled = gate.pool(x)  # (N, channels, 1, 1)
        reduced = gate.reduce(pooled)
        self.reduce.add(pooled.flatten(1), reduced.flatten(1))
        active = gate.act(reduced.clone())
        self.expand.add(active.flatten(1), gate.expand(active).flatten(1))


def spatial(row: Operator) -> Conv:
    """The convolution of a row whose kernel is the block's own."""
    convs = [x for x in row.layers if isinstance(x, Conv) and x.role != FIRST_DEPTHWISE]
    return max(convs, key=lambda conv: (conv.role in SPATIAL, conv.kernel))


def hidden_channels(row: Operator) -> int:
    """Channels that the last convolution reads."""
    last = row.layers[-1]
    assert isinstance(last, Conv)
    return last.cin


def with_kernel(row: Operator, kernel: int) -> Operator:
    """The row with another kernel, all channels kept."""
    own = spatial(row)
    layers = (replace(x, kernel=kernel) if x is own else x for x in row.layers)
    return replace(row, layers=tuple(layers))


def cut(row: Operator, module: OperatorModule, kept: Tensor, like: Norm) -> OperatorModule:
    """`row` with the weights of `module`: the hidden channels `kept`, the middles of the kernels.

    Nothing is re-solved; squeeze-and-excitation keeps its first units where it has fewer.
    """
    new = OperatorModule(row, *like)
    to_device(new, last_conv(module).conv.weight.device)
    old = layers_of(module)
    last = last_conv(new)
    with torch.no_grad():
        for role, layer in layers_of(new).items():
            given = old[role]
            if isinstance(layer, SqueezeExciteGate):
                cut_gate(layer, cast(SqueezeExciteGate, given), kept)
                continue
            if not isinstance(layer, ConvNormAct):
                continue  # a pooling, which has no weights
            given = cast(ConvNormAct, given)
            weight = cropped(given.conv.weight, layer.conv.kernel_size[0])
            if layer is last:
                # a plain convolution reads the row's input, of which nothing is left out
                whole = weight.shape[1] == layer.conv.weight.shape[1]
                layer.conv.weight.copy_(weight if whole else weight[:, kept])
                copy_rest(given, layer, slice(None))
            else:
                own = slice(None) if role == FIRST_DEPTHWISE else kept  # it reads the row's input
                layer.conv.weight.copy_(weight[own])
                copy_rest(given, layer, own)
    return new.eval()


def cut_gate(gate: SqueezeExciteGate, given: SqueezeExciteGate, kept: Tensor) -> None:
    """The gates of the channels `kept`, by the first units where there are fewer."""
    units = slice(gate.reduce.weight.shape[0])
    gate.reduce.weight.copy_(given.reduce.weight[units][:, kept])
    gate.reduce.get_parameter("bias").copy_(given.reduce.get_parameter("bias")[units])
    gate.expand.weight.copy_(given.expand.weight[kept][:, units])
    gate.expand.get_parameter("bias").copy_(given.expand.get_parameter("bias")[kept])


def copy_rest(given: ConvNormAct, layer: ConvNormAct, kept: Tensor | slice) -> None:
    """Biases and norms of the outputs `kept`."""
    if given.conv.bias is not None and layer.conv.bias is not None:
        layer.conv.bias.copy_(given.conv.bias[kept])
    for name, tensor in layer.bn.state_dict().items():
        source = given.bn.state_dict()[name]
        tensor.copy_(source[kept] if source.ndim else source)


def resolve_gate(
    gate: SqueezeExciteGate, given: SqueezeExciteGate, moments: GateMoments, kept: Tensor
) -> None:
    """Solve the gate of the channels `kept` anew, in place, so that it opens as `given` does.

    Where it has fewer units, those are kept from which the gates are told best.
    """
    number = gate.reduce.weight.shape[0]
    opening = moments.expand.problem().to(kept)
    near = exact(given.expand.weight).flatten(1).T[:, kept]  # (squeeze, kept)
    units = opening.eliminate(near, [number], CHOICE_RIDGE)[number]
    expand, expand_offset = opening.of(units).solve(near[units], CHOICE_RIDGE)
    near = exact(given.reduce.weight).flatten(1)[units][:, kept].T  # (kept, units)
    reduce, offset = moments.reduce.problem().of(kept).to(units).solve(near, CHOICE_RIDGE)
    with torch.no_grad():
        gate.expand.weight.copy_(expand.T[..., None, None])
        gate.expand.get_parameter("bias").copy_(expand_offset)
        gate.reduce.weight.copy_(reduce.T[..., None, None])
        gate.reduce.get_parameter("bias").copy_(offset)
