"""The layers that every network is made of, with their sizes, and rows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, assert_never

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution with norm (or else bias) and activation (or "") on a `side` x `side` input."""

    role: str
    cin: int
    cout: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    act: str = ""
    norm: bool = True
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
class MaxPool:
    """The largest of each 3x3 window, with stride 2 and one pixel of padding on all sides."""

    channels: int
    side: int


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer with bias; `act` is "" for none."""

    role: str
    cin: int
    cout: int
    act: str


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout at `rate`, in training only."""

    rate: float


@dataclass(frozen=True, slots=True)
class Split:
    """A branch begins: it reads `cout` of the `cin` channels of its row's input, from `first` on.

    What came before in the row is another branch, which waits for `Concat`.
    """

    role: str
    cin: int
    first: int
    cout: int
    side: int


@dataclass(frozen=True, slots=True)
class Concat:
    """The branch before and this one side by side: `channels` in all."""

    channels: int
    side: int


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Channels of `groups` equal groups in turn (ShuffleNet, Zhang et al. 2018, Figure 1)."""

    channels: int
    groups: int
    side: int


Layer = Conv | SqueezeExcite | Pool | MaxPool | Linear | Dropout | Split | Concat | Shuffle


FIRST_DEPTHWISE = "first_depthwise"  # role of the one before a block's expansion


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of a network: its place, its layers, whether the input is added to their output.

    `drop_path` is the rate at which training drops the layers.
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

    @property
    def is_stem(self) -> bool:
        """Whether this is the first row, which reads the image."""
        return self.place == "stem"


def layer_role(layer: Layer) -> str:
    """The name of a layer inside its row, as in state dicts."""
    match layer:
        case Conv() | Linear() | Split():
            return layer.role
        case SqueezeExcite():
            return "se"
        case Pool():
            return "pool"
        case MaxPool():
            return "max_pool"
        case Dropout():
            return "dropout"
        case Concat():
            return "concat"
        case Shuffle():
            return "shuffle"
    assert_never(layer)


def run_layers(layers: Iterable[Layer], x: T, run: Callable[..., T]) -> T:
    """What the layers of a row make of its input `x`.

    `run(layer, *inputs)` is what one layer makes of its input, a `Concat` of two.
    """
    before = out = x
    for layer in layers:
        match layer:
            case Split():
                before, out = out, run(layer, x)
            case Concat():
                out = run(layer, before, out)
            case _:
                out = run(layer, out)
    return out


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME adds before and after one axis of length `side`."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def nearest_multiple(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, and not 0."""
    return max(divisor, int(channels + divisor / 2) // divisor * divisor)


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, never below 90 % of `channels`.

    The rule of all TensorFlow mobile networks (slim `make_divisible`, EfficientNet
    `round_filters`): 19.2 becomes 24, since 16 is under 17.28.
    """
    rounded = nearest_multiple(channels, divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
