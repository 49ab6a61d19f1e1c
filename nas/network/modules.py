"""Torch modules from layers: one module per layer kind, `build(arch)` for a whole network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

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
    inputs_of,
    layer_role,
    run_layers,
    same_padding,
)
from nas.arch.operators import operators
from nas.network.branches import (
    ConcatChannels,
    MergeBranches,
    ResizeBilinear,
    SplitChannels,
    TablePerAnchor,
)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hswish": nn.Hardswish,  # x * relu6(x + 3) / 6, MobileNetV3
    "swish": nn.SiLU,  # x * sigmoid(x), EfficientNet
}
GATES: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "hsigmoid": nn.Hardsigmoid}


def _activation(name: str) -> nn.Module:
    """One of ACTIVATIONS or GATES, or "" for none."""
    if name in GATES:
        return GATES[name]()
    return ACTIVATIONS[name](inplace=True) if name else nn.Identity()


class ConvNormAct(nn.Module):
    """Convolution, batch norm and activation of one `Conv` layer.

    `padding="same"` pads as TensorFlow does: the odd pixel goes to the bottom and the right.
    A depthwise one is padded on all sides alike, which `quick_gradients` asks for, on a map that
    is moved by the odd pixel.
    """

    def __init__(self, layer: Conv, padding: str, eps: float, momentum: float) -> None:
        super().__init__()
        self.same = padding == "same" and layer.stride > 1
        sizes = (layer.cin, layer.cout, layer.kernel, layer.stride)
        dense_same = self.same and layer.groups == 1
        pad = 0 if dense_same else layer.kernel // 2 * layer.dilation
        bias = layer.bias and not layer.norm
        self.conv = nn.Conv2d(*sizes, pad, layer.dilation, groups=layer.groups, bias=bias)
        eps = layer.bn_eps or eps
        self.bn = nn.BatchNorm2d(layer.cout, eps, momentum) if layer.norm else nn.Identity()
        self.act = _activation(layer.act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, cin, H, W) -> (N, cout, ceil(H / stride), ceil(W / stride))."""
        out: torch.Tensor = self.act(self.linear(x))
        return out

    def linear(self, x: torch.Tensor) -> torch.Tensor:
        """The same without the activation."""
        down = right = 0
        if self.same:
            kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
            rows, columns = (same_padding(side, kernel, stride) for side in x.shape[-2:])
            if self.conv.groups == 1:
                x = F.pad(x, (*columns, *rows))
            else:
                down, right = (kernel // 2 - before for before, _ in (rows, columns))
                x = F.pad(x, (right, 0, down, 0))
        out: torch.Tensor = self.bn(self.conv(x)[..., down:, right:])
        return out


class SqueezeExciteGate(nn.Module):
    """Squeeze-and-excitation of one `SqueezeExcite` layer."""

    def __init__(self, layer: SqueezeExcite) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(layer.channels, layer.squeeze, 1)
        self.act = ACTIVATIONS[layer.act](inplace=True)
        self.expand = nn.Conv2d(layer.squeeze, layer.channels, 1)
        self.gate = GATES[layer.gate]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape, each channel multiplied by its gate in [0, 1]."""
        scale: torch.Tensor = self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return x * scale


class LinearAct(nn.Module):
    """Fully connected layer and activation of one `Linear` layer."""

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.cin, layer.cout)
        self.act = _activation(layer.act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, cin) or (N, cin, 1, 1) -> (N, cout)."""
        out: torch.Tensor = self.act(self.linear(x.flatten(1)))
        return out


class OperatorModule(nn.Module):
    """One `Operator`: its layers by role, the residual, stochastic depth per sample."""

    def __init__(self, row: Operator, padding: str, eps: float, momentum: float) -> None:
        super().__init__()
        self.residual, self.drop_path = row.residual, row.drop_path
        self.layers, self.sources = row.layers, row.sources
        for layer in row.layers:
            self.add_module(layer_role(layer), _module(layer, padding, eps, momentum))

    def forward(self, x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """The layers in order, plus the input where the row has a residual."""
        out = run_layers(self.layers, x, self._run, others)
        if not self.residual:
            return out
        if self.training and self.drop_path:
            keep = 1 - self.drop_path
            mask = torch.rand(x.shape[0], 1, 1, 1, device=x.device) < keep  # float32: 0.999 is no 1
            out = out * mask / keep
        return x + out

    def _run(self, layer: Layer, *inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = getattr(self, layer_role(layer))(*inputs)
        return out


def _module(layer: Layer, padding: str, eps: float, momentum: float) -> nn.Module:
    match layer:
        case Conv():
            return ConvNormAct(layer, padding, eps, momentum)
        case SqueezeExcite():
            return SqueezeExciteGate(layer)
        case Pool():
            return nn.AdaptiveAvgPool2d(1)
        case MaxPool():
            return nn.MaxPool2d(3, stride=2, padding=1)
        case Linear():
            return LinearAct(layer)
        case Dropout():
            return nn.Dropout(layer.rate)
        case Split():
            return SplitChannels(layer)
        case Concat():
            return ConcatChannels()
        case Shuffle():
            return nn.ChannelShuffle(layer.groups)
        case Read():
            return nn.Identity()
        case Merge():
            return MergeBranches(layer)
        case Resize():
            return ResizeBilinear(layer)
        case PerAnchor():
            return TablePerAnchor(layer)
        case Join():
            return ConcatChannels(layer.axis)
    assert_never(layer)


Maps = Mapping[str, torch.Tensor]  # by the place that puts them out


class Rows(nn.Sequential):
    """Rows in order of execution, by place; later ones may read what earlier ones put out."""

    def __init__(self, rows: Sequence[Operator], padding: str, eps: float, momentum: float) -> None:
        super().__init__()
        self.kept = {place for row in rows for place in row.sources}
        self.outside = tuple(inputs_of(rows))[1:]  # places that are read, and are not here
        for row in rows:
            self.add_module(row.place, OperatorModule(row, padding, eps, momentum))

    def forward(self, x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """The input of the first row, and what is read from outside -> output of the last row."""
        return self.run(x, dict(zip(self.outside, others, strict=True)))

    def run(self, x: torch.Tensor, known: Maps, begin: int = 0) -> torch.Tensor:
        """From row number `begin` on, whose input is x; `known`: what earlier rows put out."""
        for number, (place, row) in enumerate(self._modules.items()):
            if number < begin:
                continue
            assert isinstance(row, OperatorModule)
            first, *rest = row.sources or (None,)
            start = known[first] if first is not None and number else x
            x = row(start, *(known[source] for source in rest))
            known = self.seen(known, place, x)
        return x

    def seen(self, known: Maps, place: str, x: torch.Tensor) -> Maps:
        """`known`, with what the row at `place` puts out where a later one reads it."""
        return {**known, place: x} if place in self.kept else known


class Network(Rows):
    """The rows of an `Arch`, by place: `stem`, `stage1_block1`, ..., `head`, `classifier`.

    (N, channels, H, W) -> (N, classes) logits.  Other input sides than `arch.resolution` work,
    but not under a dense head, which answers (N, anchors, classes + 4) or (N, classes, H, W).
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__(operators(arch), arch.padding, arch.bn_eps, arch.bn_momentum)


def arrays(net: nn.Module) -> dict[str, NDArray[Any]]:
    """The state dict in NumPy, as `onnx_model` and `tflite_model` take it."""
    return {name: tensor.cpu().numpy() for name, tensor in net.state_dict().items()}


def build(arch: Arch, seed: int | None = None) -> Network:
    """The torch module of `arch`, initialised from `seed` (or torch's global generator)."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed: those of GPUs too
        net = Network(arch)
        for module in net.modules():
            initialise(module)
    return net


def build_rows(rows: Sequence[Operator], padding: str = "symmetric") -> Rows:
    """Consecutive rows as a module of their own, with torch's own initial weights and norms.

    (N, cin, side, side) of the first row -> (N, *row_shape) of the last; what they read from
    outside follows the input, in the order of `nas.arch.layers.inputs_of`.
    """
    return Rows(rows, padding, eps=1e-5, momentum=0.1)


def initialise(module: nn.Module) -> None:
    """The initial weights of the TensorFlow EfficientNet and MnasNet code.

    Convolutions N(0, sqrt(2 / fan_out)) with fan_out = k * k * out / groups (torchvision does not
    divide by groups); linear layers U(+-1 / sqrt(classes)); biases 0; norms 1 and 0, torch's own.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.out_features)
        nn.init.uniform_(module.weight, -bound, bound)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
