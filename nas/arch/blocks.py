"""Blocks: what describes one, and the layers of each kind, in the words of its paper.

A new kind is one function and one entry in `BLOCKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from nas.arch.fields import check_fields
from nas.arch.layers import Conv, Layer, Operator, SqueezeExcite, round_channels

Layers = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a stage, before its widths and sizes are known.

    op        its kind in `BLOCKS`.
    kernel    odd side of the (depthwise) kernel, in pixels.
    expand    expansion ratio, hidden over input channels; fractions as in MobileNetV3 (2.3).
    se        squeeze-and-excitation ratio, 0 for none.  `se_from="input"` squeezes to
              int(se * block input) channels (MnasNet, EfficientNet), "expanded" to a multiple of
              8 near se * hidden (MobileNetV3).
    se_gate   sigmoid, or MobileNetV3's hsigmoid.
    se_act    activation between its two layers; "" for the block's own.
    act       activation after expansion and depthwise convolution.
    skip      whether a residual is added where stride is 1 and the width does not change.
    linear    whether the projection of an inverted residual stays without activation (MobileNetV2,
              section 3.2 and Figure 6a).
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
    linear: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        check_fields(self, ops=BLOCKS)

    def __repr__(self) -> str:
        """All fields but those with repr=False that hold their defaults.

        Spaces and runs are known by it, also those made before there were such fields.
        """
        shown = [f for f in fields(self) if f.repr or getattr(self, f.name) != f.default]
        return f"Block({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"


@dataclass(frozen=True, slots=True)
class BlockKind:
    """A kind of block.

    layers     from the block, input channels, output channels, stride, input side.
    residual   whether the input is added to the output where their shapes agree.
    expands    whether the expansion ratio has an effect.
    convolves  whether kernel, activation and squeeze-and-excitation have one.
    full       the kind with a full convolution in the place of the depthwise one and of the 1x1
               beside it; "" where there is none.
    """

    layers: Callable[[Block, int, int, int, int], Layers]
    residual: bool = False
    expands: bool = False
    convolves: bool = True
    full: str = ""


def _hidden_channels(block: Block, cin: int) -> int:
    """Channels between expansion and projection; fractional ratios round to multiples of 8."""
    hidden = cin * block.expand
    return int(hidden) if block.expand == int(block.expand) else round_channels(hidden)


def _squeeze_excite(block: Block, cin: int, hidden: int, side: int) -> Layers:
    """Squeeze-and-excitation, if the block has it; `side` is behind the kxk convolution."""
    if not block.se:
        return ()
    if block.se_from == "input":  # MnasNet and EfficientNet, official code
        squeeze = max(1, int(block.se * cin))
    else:  # MobileNetV3, section 5.3
        squeeze = round_channels(block.se * hidden)
    act = block.se_act or block.act
    return (SqueezeExcite(hidden, squeeze, act=act, gate=block.se_gate, side=side),)


def _spatial(role: str, block: Block, cin: int, cout: int, **sizes: Any) -> Conv:
    """The kxk convolution of a block."""
    return Conv(role=role, cin=cin, cout=cout, kernel=block.kernel, act=block.act, **sizes)


def _project(block: Block, cin: int, cout: int, side: int) -> Conv:
    """The 1x1 convolution that ends an inverted residual."""
    act = "" if block.linear else block.act
    return Conv(role="project", cin=cin, cout=cout, act=act, side=side)


def mbconv(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """Inverted residual with a linear bottleneck (MobileNetV2, Sandler et al. 2018, Table 1).

    With expand=1 the depthwise separable block of MobileNetV3, MnasNet and EfficientNet.
    """
    hidden = _hidden_channels(block, cin)
    expand = Conv(role="expand", cin=cin, cout=hidden, act=block.act, side=side)
    depthwise = _spatial(
        "depthwise", block, hidden, hidden, stride=stride, side=side, groups=hidden
    )
    excite = _squeeze_excite(block, cin, hidden, depthwise.side_out)
    layers = (depthwise, *excite, _project(block, hidden, cout, depthwise.side_out))
    return layers if hidden == cin else (expand, *layers)


def fused(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """Inverted residual that expands by its kxk convolution (EfficientNetV2, Tan and Le 2021)."""
    hidden = _hidden_channels(block, cin)
    if hidden == cin:
        return conv(block, cin, cout, stride, side)
    expand = _spatial("fused", block, cin, hidden, stride=stride, side=side)
    excite = _squeeze_excite(block, cin, hidden, expand.side_out)
    return (expand, *excite, _project(block, hidden, cout, expand.side_out))


def separable(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """MobileNetV1's block, activated after the pointwise convolution too (Howard et al. 2017)."""
    depthwise = _spatial("depthwise", block, cin, cin, stride=stride, side=side, groups=cin)
    excite = _squeeze_excite(block, cin, cin, depthwise.side_out)
    pointwise = Conv(role="pointwise", cin=cin, cout=cout, act=block.act, side=depthwise.side_out)
    return (depthwise, *excite, pointwise)


def conv(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """A plain convolution with norm and activation."""
    return (_spatial("conv", block, cin, cout, stride=stride, side=side),)


def identity(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """Nothing; where the shape changes, a 1x1 convolution with norm (Su et al. 2021)."""
    if stride == 1 and cin == cout:
        return ()
    return (Conv(role="project", cin=cin, cout=cout, stride=stride, side=side),)


BLOCKS: dict[str, BlockKind] = {
    "mbconv": BlockKind(mbconv, residual=True, expands=True, full="fused"),
    "fused": BlockKind(fused, residual=True, expands=True),
    "separable": BlockKind(separable, full="conv"),  # MobileNetV1, Table 4
    "conv": BlockKind(conv),
    "identity": BlockKind(identity, convolves=False),
}


@lru_cache(maxsize=65536)
def _block_layers(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    return BLOCKS[block.op].layers(block, cin, cout, stride, side)


def block_row(
    place: str, block: Block, cin: int, cout: int, stride: int, side: int
) -> Operator | None:
    """The row of one block; None where it has no layers (an identity that changes nothing)."""
    layers = _block_layers(block, cin, cout, stride, side)
    if not layers:
        return None
    return Operator(
        place=place,
        op=block.op,
        layers=layers,
        cin=cin,
        cout=cout,
        side=side,
        side_out=-(-side // stride),
        residual=block.skip and stride == 1 and cin == cout and BLOCKS[block.op].residual,
    )
