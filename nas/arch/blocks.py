"""Blocks: what describes one, and the layers of each kind, in the words of its paper.

A new kind is one function and one entry in `BLOCKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from nas.arch.fields import check_fields, shown
from nas.arch.layers import (
    FIRST_DEPTHWISE,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Operator,
    Shuffle,
    Split,
    SqueezeExcite,
    round_channels,
)
from nas.core.errors import UserError

Layers = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a stage, before its widths and sizes are known.

    op        its kind in `BLOCKS`.
    kernel    odd side of the (depthwise) kernel, in pixels; 0 for none, where the kind may do
              without one.
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
    first_kernel   odd side of a depthwise kernel before the expansion (MobileNetV4), 0 for none.
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
    first_kernel: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        kinds = (BLOCKS.get(op) for op in getattr(self.op, "options", (self.op,)))
        without = any(kind and kind.two_kernels for kind in kinds)
        check_fields(self, min_kernel=0 if without else 1, ops=BLOCKS)

    def __repr__(self) -> str:
        return shown(self)


@dataclass(frozen=True, slots=True)
class BlockKind:
    """A kind of block.

    layers     from the block, input channels, output channels, stride, input side.
    residual   whether the input is added to the output where their shapes agree.
    expands    whether the expansion ratio has an effect.
    convolves  whether kernel, activation and squeeze-and-excitation have one.
    two_kernels   whether `first_kernel` has one, and either kernel may be 0.
    full       the kind with a full convolution in the place of the depthwise one and of the 1x1
               beside it; "" where there is none.
    """

    layers: Callable[[Block, int, int, int, int], Layers]
    residual: bool = False
    expands: bool = False
    convolves: bool = True
    two_kernels: bool = False
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
    """A plain convolution with norm and activation, and squeeze-and-excitation of what it makes."""
    whole = _spatial("conv", block, cin, cout, stride=stride, side=side)
    return (whole, *_squeeze_excite(block, cin, cout, whole.side_out))


def uib(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """MobileNetV4's universal inverted bottleneck (Qin et al. 2024, section 4 and Figure 4).

    Its two depthwise convolutions, before the expansion without activation and after it, may each
    be left out.  With both it is "extra depthwise", with the second alone an inverted bottleneck,
    with the first alone like ConvNeXt, with none a feed-forward network.  The second takes the
    stride, else the first, else a pooling.  Hidden channels round to multiples of 8, as in timm.
    """
    hidden, after = round_channels(cin * block.expand), -(-side // stride)
    # the stride before the expansion, and the side behind that
    early, inner = (1, side) if block.kernel else (stride, after)
    layers: list[Layer] = []
    if block.first_kernel:
        first = _spatial(FIRST_DEPTHWISE, block, cin, cin, stride=early, side=side, groups=cin)
        layers.append(replace(first, kernel=block.first_kernel, act=""))
    elif early > 1:
        layers.append(MaxPool(cin, side))
    layers.append(Conv(role="expand", cin=cin, cout=hidden, act=block.act, side=inner))
    if block.kernel:
        sizes = {"stride": stride, "side": side, "groups": hidden}
        layers.append(_spatial("depthwise", block, hidden, hidden, **sizes))
    layers += _squeeze_excite(block, cin, hidden, after)
    return (*layers, _project(block, hidden, cout, after))


def identity(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """Nothing; where the shape changes, a 1x1 convolution with norm (Su et al. 2021)."""
    if stride == 1 and cin == cout:
        return ()
    return (Conv(role="project", cin=cin, cout=cout, stride=stride, side=side),)


def maxpool(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """A 3x3 max pool where the stride is 2, as after ShuffleNet's stem; else an identity."""
    pool = (MaxPool(cin, side),) if stride > 1 else ()
    return (*pool, *identity(block, cin, cout, 1, -(-side // stride)))


def shuffle(block: Block, cin: int, cout: int, stride: int, side: int) -> Layers:
    """ShuffleNetV2's unit (Ma et al. 2018, Figure 3c): its left branch is half of the channels.

    Where the shape changes, both branches read the whole input, and the left one convolves too
    (Figure 3d).  Depthwise convolutions are not activated.  Squeeze-and-excitation ends the right
    branch.  Raises UserError for an odd width.
    """
    if cout % 2:
        raise UserError(
            f"a shuffle block has two branches of equal width: its width must be even, not {cout}"
        )
    half, out, act = cout // 2, -(-side // stride), block.act
    if stride == 1 and cin == cout:
        left: Layers = (Split("left", cin, 0, half, side),)
        right = Split("right", cin, half, half, side)
    else:
        depthwise = _unactivated("left_depthwise", block, cin, stride, side)
        left = (depthwise, Conv(role="left_last", cin=cin, cout=half, act=act, side=out))
        right = Split("right", cin, 0, cin, side)
    return (
        *left,
        right,
        Conv(role="right_first", cin=right.cout, cout=half, act=act, side=side),
        _unactivated("right_depthwise", block, half, stride, side),
        Conv(role="right_last", cin=half, cout=half, act=act, side=out),
        *_squeeze_excite(block, cin, half, out),
        Concat(cout, out),
        Shuffle(cout, groups=2, side=out),
    )


def _unactivated(role: str, block: Block, channels: int, stride: int, side: int) -> Conv:
    """A depthwise convolution with norm alone."""
    sizes = {"stride": stride, "side": side, "groups": channels}
    return replace(_spatial(role, block, channels, channels, **sizes), act="")


BLOCKS: dict[str, BlockKind] = {
    "mbconv": BlockKind(mbconv, residual=True, expands=True, full="fused"),
    "fused": BlockKind(fused, residual=True, expands=True),
    "uib": BlockKind(uib, residual=True, expands=True, two_kernels=True),
    "separable": BlockKind(separable, full="conv"),  # MobileNetV1, Table 4
    "conv": BlockKind(conv),
    "identity": BlockKind(identity, convolves=False),
    "maxpool": BlockKind(maxpool, convolves=False),
    "shuffle": BlockKind(shuffle),
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
