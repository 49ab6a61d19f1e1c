"""What an `Arch` means: the one list of layers that cost, latency and torch all read.

`operators(arch)` is the network row by row; each `Operator` holds plain layers with their true
sizes.  A new kind of block is one function here and one entry in `BLOCKS`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

from nas.arch.arch import Arch, Block, strides
from nas.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution with its norm and activation on a `side` x `side` input.

    `act` may be "" for none (a linear bottleneck).  It has a bias exactly where it has no norm.
    """

    role: str
    cin: int
    cout: int
    kernel: int
    stride: int
    groups: int
    act: str
    norm: bool
    side: int

    @property
    def side_out(self) -> int:
        """Output side: ceil(side / stride), for both paddings and every odd kernel."""
        return -(-self.side // self.stride)


@dataclass(frozen=True, slots=True)
class SqueezeExcite:
    """Pool, 1x1 convolution to `squeeze` channels, act, 1x1 back, gate, multiply."""

    channels: int
    squeeze: int
    act: str
    gate: str
    side: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Global average pool."""

    channels: int
    side: int


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer with bias; `act` may be "" for none."""

    role: str
    cin: int
    cout: int
    act: str


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout at `rate`, in training only."""

    rate: float


Layer = Conv | SqueezeExcite | Pool | Linear | Dropout


def layer_role(layer: Layer) -> str:
    """The name of a layer inside its row, as in state dicts."""
    match layer:
        case Conv() | Linear():
            return layer.role
        case SqueezeExcite():
            return "se"
        case Pool():
            return "pool"
        case Dropout():
            return "dropout"
    assert_never(layer)


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME adds before and after one axis of length `side`."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of a network: its place, its layers, whether the input is added to their output.

    `drop_path` is the rate at which training drops the layers and keeps the input alone.
    """

    place: str
    op: str
    layers: tuple[Layer, ...]
    cin: int
    cout: int
    side: int
    side_out: int
    residual: bool = False
    drop_path: float = 0.0


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, never below 90 % of `channels`.

    The rule of all TensorFlow mobile networks (slim `make_divisible`, EfficientNet
    `round_filters`): 19.2 would round to 16, which is under 17.28, and so becomes 24.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def hidden_channels(block: Block, cin: int) -> int:
    """Channels between expansion and projection; fractional ratios round to multiples of 8."""
    hidden = cin * block.expand
    return int(hidden) if block.expand == int(block.expand) else round_channels(hidden)


def squeeze_channels(block: Block, cin: int, hidden: int) -> int:
    """Channels inside squeeze-and-excitation.

    From the block's input: max(1, int(se * cin)) (MnasNet and EfficientNet, official code).
    From the expanded width: a multiple of 8 near se * hidden (MobileNetV3, section 5.3).
    """
    if block.se_from == "input":
        return max(1, int(block.se * cin))
    return round_channels(block.se * hidden)


# A block function gives the layers of one block from its input channels, output channels,
# stride and input side.
def _squeeze_excite(block: Block, cin: int, hidden: int, side: int) -> tuple[Layer, ...]:
    if not block.se:
        return ()
    squeeze = squeeze_channels(block, cin, hidden)
    return (SqueezeExcite(hidden, squeeze, block.se_act or block.act, block.se_gate, side),)


def mbconv(block: Block, cin: int, cout: int, stride: int, side: int) -> tuple[Layer, ...]:
    """Inverted residual: expand 1x1, depthwise kxk, squeeze-and-excitation, linear 1x1."""
    hidden = hidden_channels(block, cin)
    expand: tuple[Layer, ...] = ()
    if hidden != cin:
        expand = (Conv("expand", cin, hidden, 1, 1, 1, block.act, True, side),)
    depthwise = Conv(
        "depthwise", hidden, hidden, block.kernel, stride, hidden, block.act, True, side
    )
    excite = _squeeze_excite(block, cin, hidden, depthwise.side_out)
    project = Conv("project", hidden, cout, 1, 1, 1, "", True, depthwise.side_out)
    return (*expand, depthwise, *excite, project)


def fused(block: Block, cin: int, cout: int, stride: int, side: int) -> tuple[Layer, ...]:
    """Fused inverted residual: expand kxk, squeeze-and-excitation, linear 1x1."""
    hidden = hidden_channels(block, cin)
    if hidden == cin:
        return conv(block, cin, cout, stride, side)
    first = Conv("fused", cin, hidden, block.kernel, stride, 1, block.act, True, side)
    excite = _squeeze_excite(block, cin, hidden, first.side_out)
    return (first, *excite, Conv("project", hidden, cout, 1, 1, 1, "", True, first.side_out))


def separable(block: Block, cin: int, cout: int, stride: int, side: int) -> tuple[Layer, ...]:
    """MobileNetV1's block: depthwise kxk and pointwise 1x1, both with norm and activation."""
    depthwise = Conv("depthwise", cin, cin, block.kernel, stride, cin, block.act, True, side)
    excite = _squeeze_excite(block, cin, cin, depthwise.side_out)
    pointwise = Conv("pointwise", cin, cout, 1, 1, 1, block.act, True, depthwise.side_out)
    return (depthwise, *excite, pointwise)


def conv(block: Block, cin: int, cout: int, stride: int, side: int) -> tuple[Layer, ...]:
    """A plain convolution with norm and activation."""
    return (Conv("conv", cin, cout, block.kernel, stride, 1, block.act, True, side),)


def identity(block: Block, cin: int, cout: int, stride: int, side: int) -> tuple[Layer, ...]:
    """Nothing where the shape stays, else a 1x1 convolution with norm and no activation."""
    if stride == 1 and cin == cout:
        return ()
    return (Conv("project", cin, cout, 1, stride, 1, "", True, side),)


BLOCKS: dict[str, Callable[[Block, int, int, int, int], tuple[Layer, ...]]] = {
    "mbconv": mbconv,
    "fused": fused,
    "separable": separable,
    "conv": conv,
    "identity": identity,
}


@lru_cache(maxsize=65536)
def _block_layers(block: Block, cin: int, cout: int, stride: int, side: int) -> tuple[Layer, ...]:
    return BLOCKS[block.op](block, cin, cout, stride, side)


def block_row(
    place: str, block: Block, cin: int, cout: int, stride: int, side: int
) -> Operator | None:
    """The row of one block; None where it has no layers (an identity that changes nothing)."""
    layers = _block_layers(block, cin, cout, stride, side)
    if not layers:
        return None
    residual = block.skip and stride == 1 and cin == cout and block.op in {"mbconv", "fused"}
    return Operator(place, block.op, layers, cin, cout, side, -(-side // stride), residual)


def operators(arch: Arch) -> tuple[Operator, ...]:
    """The network as rows in order of execution: stem, blocks, head, pool, classifier.

    Raises UserError where the input is too small for the strides.
    """
    stem = arch.stem
    first = Conv(
        "conv", arch.channels, stem.width, stem.kernel, stem.stride, 1, stem.act, True,
        arch.resolution,
    )  # fmt: skip
    _needs(arch, first.side, stem.stride)
    rows = [_row("stem", "conv", (first,))]
    body = _body(arch, first.cout, first.side_out)
    last = body[-1] if body else rows[0]
    return (*rows, *body, *_head(arch, last.cout, last.side_out))


def _row(place: str, op: str, layers: tuple[Conv, ...]) -> Operator:
    first, last = layers[0], layers[-1]
    return Operator(place, op, layers, first.cin, last.cout, first.side, last.side_out)


def _needs(arch: Arch, side: int, stride: int) -> None:
    if stride > 1 and side < 2:
        total = arch.stem.stride * math.prod(strides(arch))
        raise UserError(
            f"resolution {arch.resolution} is too small for strides of {total} in all: "
            f"allowed is {total // 2 + 1} or more; raise resolution= or lower the strides"
        )


def _body(arch: Arch, cin: int, side: int) -> list[Operator]:
    rows = []
    for s, (stage, first) in enumerate(zip(arch.stages, strides(arch), strict=True), 1):
        for b, block in enumerate(stage.slots(), 1):
            stride = first if b == 1 else 1
            _needs(arch, side, stride)
            row = block_row(f"stage{s}_block{b}", block, cin, stage.width, stride, side)
            if row:
                rows.append(row)
                cin, side = row.cout, row.side_out
    return _with_drop_path(rows, arch.drop_path)


def _with_drop_path(rows: list[Operator], rate: float) -> list[Operator]:
    """Stochastic depth grows linearly: rate * i / n for block i of n, on residual blocks only."""
    if not rate:
        return rows
    return [
        Operator(r.place, r.op, r.layers, r.cin, r.cout, r.side, r.side_out, r.residual,
                 rate * i / len(rows) if r.residual else 0.0)
        for i, r in enumerate(rows)
    ]  # fmt: skip


def _head(arch: Arch, cin: int, side: int) -> list[Operator]:
    head = arch.head
    rows = []
    if head.width:
        rows.append(
            _row("head", "conv", (Conv("conv", cin, head.width, 1, 1, 1, head.act, True, side),))
        )
        cin = head.width
    rows.append(Operator("pool", "pool", (Pool(cin, side),), cin, cin, side, 1))
    if head.hidden:
        layer: Layer = Linear("hidden", cin, head.hidden, head.act)
        if head.hidden_layer == "conv":
            layer = Conv("hidden", cin, head.hidden, 1, 1, 1, head.act, False, 1)
        rows.append(Operator("hidden", head.hidden_layer, (layer,), cin, head.hidden, 1, 1))
        cin = head.hidden
    last = (Dropout(float(head.dropout)), Linear("linear", cin, arch.classes, ""))
    rows.append(Operator("classifier", "linear", last, cin, arch.classes, 1, 1))
    return rows


def network_id(arch: Arch) -> str:
    """12 hex digits that two architectures share exactly when they build the same network.

    Whatever has no effect (slots beyond the depth, identities that vanish, ratios that round to
    the same widths, the name) has none here either: the id reads the layers and the constants
    of norm and padding.
    """
    rows = [(r.layers, r.residual, r.drop_path) for r in operators(arch)]
    text = repr((rows, arch.padding, float(arch.bn_eps), float(arch.bn_momentum)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
