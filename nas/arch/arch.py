"""What a network is: frozen, hashable, plain data, in and out of YAML.

An `Arch` says what a paper's table says, one `Stage` a row, and nothing about how it runs: its
layers come from `nas.arch.layers`, its torch module from `nas.network`.  A field may hold a hole
(`nas.space.choices.OneOf`) instead of a value; an `Arch` with holes is a search space.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple

from nas.core.errors import UserError, unknown

ACTIVATIONS = ("relu", "relu6", "hswish", "swish")
GATES = ("sigmoid", "hsigmoid")
OPERATIONS = ("mbconv", "fused", "separable", "conv", "identity")
PADDINGS = ("symmetric", "same")
# What a field may hold: a tuple of allowed values, or (lowest, highest), or a type.
_CHOICES: dict[str, tuple[str, ...]] = {
    "act": ACTIVATIONS,
    "hidden_layer": ("linear", "conv"),
    "op": OPERATIONS,
    "padding": PADDINGS,
    "se_act": ("", *ACTIVATIONS),
    "se_from": ("input", "expanded"),
    "se_gate": GATES,
}
_RANGES: dict[str, tuple[float, float]] = {
    "bn_eps": (1e-9, 1.0),
    "bn_momentum": (0.0, 1.0),
    "channels": (1, 4096),
    "classes": (1, 1_000_000),
    "depth": (0, 1000),
    "drop_path": (0.0, 0.99),
    "dropout": (0.0, 0.99),
    "expand": (0.1, 64.0),
    "hidden": (0, 1_000_000),
    "kernel": (1, 31),
    "resolution": (1, 8192),
    "se": (0.0, 1.0),
    "stride": (1, 2),
}
_KINDS = {"name": (str, "text"), "skip": (bool, "true or false")}
_FRACTIONS = {"bn_eps", "bn_momentum", "drop_path", "dropout", "expand", "se"}


def _check(node: Any, least_width: int = 1) -> None:
    """Refuse a field of `node` that holds neither allowed values nor holes for them."""
    for f in fields(node):
        value = getattr(node, f.name)
        for option in getattr(value, "options", (value,)):
            if not (is_dataclass(option) or isinstance(option, tuple)):
                _check_value(f.name, option, least_width)


def _check_value(name: str, value: Any, least_width: int) -> None:
    if name in _KINDS:
        if not isinstance(value, _KINDS[name][0]):
            raise UserError(f"{name} must be {_KINDS[name][1]}, not {value!r}")
        return
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise unknown(name, value, _CHOICES[name])
        return
    low, high = _RANGES.get(name, (least_width, 1_000_000))
    kind = "number" if name in _FRACTIONS else "whole number"
    number = isinstance(value, int | float if kind == "number" else int)
    if not number or isinstance(value, bool):
        raise UserError(f"{name} must be a {kind} from {low} to {high}, not {value!r}")
    if not low <= value <= high or (name == "kernel" and value % 2 == 0):
        odd = "odd and " if name == "kernel" else ""
        raise UserError(f"{name} must be {odd}from {low} to {high}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a stage, before its widths and sizes are known.

    op        mbconv: inverted residual with a linear bottleneck (MobileNetV2, Sandler et al. 2018,
              Table 1; with expand=1 the depthwise separable block of V3, MnasNet, EfficientNet);
              fused: its expansion and depthwise convolution fused into one (EfficientNetV2, 2021);
              separable: MobileNetV1's, activated after the pointwise convolution too;
              conv: a plain convolution; identity: nothing, or where the shape must change a
              1x1 convolution with a norm (NAS-Bench-Macro, Su et al. 2021).
    kernel    odd side of the (depthwise) kernel, in pixels.
    expand    expansion ratio, hidden over input channels; fractions as in MobileNetV3 (2.3).
    se        squeeze-and-excitation ratio, 0 for none.  `se_from="input"` squeezes to
              int(se * block input) channels (MnasNet, EfficientNet), "expanded" to a multiple of
              8 near se * hidden (MobileNetV3).
    se_gate   sigmoid, or MobileNetV3's hsigmoid.
    se_act    activation between its two layers; "" for the block's own.
    act       activation after expansion and depthwise convolution.
    skip      whether a residual is added where stride is 1 and the width does not change.
    """

    op: str = "mbconv"
    kernel: int = 3
    expand: float = 6
    se: float = 0
    act: str = "relu"
    se_from: str = "input"
    se_gate: str = "sigmoid"
    se_act: str = ""
    skip: bool = True

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class Stage:
    """`depth` blocks of one `width` (output channels); the first block has the `stride`.

    `blocks` is one `Block` for all of them, or a tuple with one per slot; the last of the tuple
    repeats when `depth` is greater, and what lies beyond `depth` has no effect.  A stage of depth
    0 is skipped and leaves its stride to the next one that has none.
    """

    width: int
    depth: int = 1
    stride: int = 1
    blocks: Block | tuple[Block, ...] = Block()

    def __post_init__(self) -> None:
        _check(self)
        if isinstance(self.blocks, tuple) and not self.blocks:
            raise UserError("a stage needs at least one block, not an empty list")

    def slots(self) -> tuple[Block, ...]:
        """The `depth` blocks that the stage is made of, in order."""
        if not isinstance(self.blocks, tuple):
            return (self.blocks,) * self.depth
        last = len(self.blocks) - 1
        return tuple(self.blocks[min(i, last)] for i in range(self.depth))


@dataclass(frozen=True, slots=True)
class Stem:
    """The first convolution, with norm and activation."""

    width: int = 32
    kernel: int = 3
    stride: int = 2
    act: str = "relu"

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class Head:
    """What follows the last stage: 1x1 convolution, average pool, hidden layer, classifier.

    width     channels of the 1x1 convolution; 0 for none (MobileNetV1).
    hidden    width of a layer between pool and classifier, without norm (MobileNetV3's efficient
              last stage, Howard et al. 2019, Figure 5); 0 for none.
    hidden_layer  "linear" as torchvision has it, or "conv" (1x1) as TensorFlow: the same numbers.
    dropout   rate before the classifier.
    """

    width: int = 1280
    act: str = "relu"
    hidden: int = 0
    hidden_layer: str = "linear"
    dropout: float = 0.2

    def __post_init__(self) -> None:
        _check(self, least_width=0)


class ImageSpec(NamedTuple):
    """What images ask of a network: channels, number of classes, side in pixels."""

    channels: int
    classes: int
    resolution: int


@dataclass(frozen=True, slots=True)
class Arch:
    """A whole network.

    resolution   side of the square input, in pixels;  channels: of the input;  classes: outputs.
    padding      "symmetric" (kernel // 2 on all sides) or TensorFlow's "same".
    bn_eps, bn_momentum   of every batch norm, the momentum as torch counts it.
    drop_path    stochastic depth: block i of n drops its residual branch at rate drop_path * i/n.
    name         for people; not part of what the network is.
    """

    stages: tuple[Stage, ...]
    stem: Stem = Stem()
    head: Head = Head()
    resolution: int = 224
    channels: int = 3
    classes: int = 1000
    padding: str = "symmetric"
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    drop_path: float = 0.0
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self)
        if not self.stages:
            raise UserError("a network needs at least one stage, not an empty list")


def strides(arch: Arch) -> list[int]:
    """The stride that each stage takes; 1 for a skipped one.

    A stage of depth 0 leaves its stride to the next stage that has none of its own, so that a
    skipped stage does not double the sides of all that follow.
    """
    taken, owed = [], 0
    for stage in arch.stages:
        stride = stage.stride
        if not stage.depth:
            owed, stride = owed + (stride > 1), 1
        elif stride == 1 and owed:
            owed, stride = owed - 1, 2
        taken.append(stride)
    return taken
