"""The layers that every network is made of, with their sizes, and rows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from nas.arch.fields import shown

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution with norm (or else bias) and activation (or "") on a `side` x `side` input.

    dilation   pixels from one weight of the kernel to the next (atrous convolution).
    bias       whether one without norm has a bias.
    bn_eps     of its own norm; 0 for the network's.
    """

    role: str
    cin: int
    cout: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    act: str = ""
    norm: bool = True
    side: int
    dilation: int = field(default=1, repr=False)
    bias: bool = field(default=True, repr=False)
    bn_eps: float = field(default=0.0, repr=False)

    def __repr__(self) -> str:
        return shown(self)

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


@dataclass(frozen=True, slots=True)
class Read:
    """A branch begins: it reads what another row has put out, of `shape` without the batch.

    `source` is its place in the row's `sources`, from 1: the first source is the row's input.
    """

    source: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """The branches before and this one in one, by `op`: "add", or "multiply" by a gate."""

    op: str
    channels: int
    side: int


@dataclass(frozen=True, slots=True)
class Resize:
    """Bilinear, from `side` to `side_out` pixels, whose centres are at half pixels."""

    role: str
    channels: int
    side: int
    side_out: int


@dataclass(frozen=True, slots=True)
class PerAnchor:
    """(anchors * numbers, side, side) as (side * side * anchors, numbers): row by row, column by
    column, and the anchors of one place in turn.
    """

    role: str
    anchors: int
    numbers: int
    side: int


@dataclass(frozen=True, slots=True)
class Join:
    """The branches before and this one, tables of rows and columns, in one of `shape`.

    They follow each other along `axis`: 1 for rows, 2 for columns.
    """

    role: str
    axis: int
    shape: tuple[int, int]


Layer = (
    Conv
    | SqueezeExcite
    | Pool
    | MaxPool
    | Linear
    | Dropout
    | Split
    | Concat
    | Shuffle
    | Read
    | Merge
    | Resize
    | PerAnchor
    | Join
)

FIRST_DEPTHWISE = "first_depthwise"  # role of the one before a block's expansion


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of a network: its place, its layers, whether the input is added to their output.

    `drop_path` is the rate at which training drops the layers.  `sources` are the places of the
    rows whose outputs it reads, the first of them as its input; () for the row before alone.
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
    sources: tuple[str, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return shown(self)

    @property
    def is_stem(self) -> bool:
        """Whether this is the first row, which reads the image."""
        return self.place == "stem"


def layer_role(layer: Layer) -> str:
    """The name of a layer inside its row, as in state dicts."""
    match layer:
        case Conv() | Linear() | Split() | Resize() | PerAnchor() | Join():
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
        case Read():
            return f"read{layer.source}"
        case Merge():
            return layer.op
    assert_never(layer)


def row_shape(row: Operator) -> tuple[int, ...]:
    """The shape of what a row puts out for one image."""
    match row.layers[-1]:
        case Linear():
            return (row.cout,)
        case Join(shape=shape):
            return shape
    return row.cout, row.side_out, row.side_out


def inputs_of(rows: Iterable[Operator]) -> dict[str, tuple[int, ...]]:
    """What consecutive rows read from outside: shapes without the batch, by the source's place.

    The first one is the input of the first row, and is called "input".
    """
    found: dict[str, tuple[int, ...]] = {}
    within: set[str] = set()
    for row in rows:
        reads = {x.source: x.shape for x in row.layers if isinstance(x, Read)}
        shapes = {0: (row.cin, row.side, row.side)} | reads
        if not found:
            found["input"] = shapes.pop(0)
        for source, shape in shapes.items():
            if row.sources and row.sources[source] not in within:
                found[row.sources[source]] = shape
        within.add(row.place)
    return found


def run_layers(layers: Iterable[Layer], x: T, run: Callable[..., T], others: Sequence[T] = ()) -> T:
    """What the layers of a row make of its input `x`, and of what its `others` sources give.

    `run(layer, *inputs)` is what one layer makes of its input; a `Concat`, a `Merge` and a `Join`
    get all branches that wait, in order.
    """
    out, waiting = x, list[T]()
    for number, layer in enumerate(layers):
        match layer:
            case Split() | Read():
                waiting += [out] if number else []
                out = run(layer, others[layer.source - 1] if isinstance(layer, Read) else x)
            case Concat() | Merge() | Join():
                out, waiting = run(layer, *waiting, out), []
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
