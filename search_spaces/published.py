"""Every published network of the lineage, its paper's table as rows.

`PUBLISHED["efficientnet_b0"]` is the door.  Names may end in a width multiplier and a
resolution, as the official checkpoints do: `mobilenet_v2_0.35`, `mobilenet_v1_0.5_160`; and may
begin with `tf_`, as in timm, for TensorFlow's SAME padding, its batch norm and its V3 tail.
Without it the conventions are torchvision's: symmetric padding and the constants below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nas.arch import Arch, Block, Head, Stage, Stem, round_channels
from nas.arch.scaling import EFFICIENTNET_LITES, EFFICIENTNETS, TABLES, scaled
from search_spaces.efficientnet_v2 import EFFICIENTNETS_V2, efficientnet_v2
from search_spaces.mobilenet_v4 import RESOLUTIONS_V4, mobilenet_v4_conv
from search_spaces.shufflenet_v2 import shufflenet_v2

# MobileNetV1, Howard et al. 2017, Table 1: (output channels, stride of the depthwise layer).
# The table prints stride 2 for the last; the code and the sizes beside it say 1.
_V1 = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
# MobileNetV2, Sandler et al. 2018, Table 2: (t expansion, c channels, n repeats, s stride).
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# MobileNetV3, Howard et al. 2019, Tables 1 and 2, rows grouped into stages of one width:
# (channels, stride, activation, ((kernel, hidden channels, SE), one a block)).
_V3_LARGE = (
    (16, 1, "relu", ((3, 16, 0),)),
    (24, 2, "relu", ((3, 64, 0), (3, 72, 0))),
    (40, 2, "relu", ((5, 72, 1), (5, 120, 1), (5, 120, 1))),
    (80, 2, "hswish", ((3, 240, 0), (3, 200, 0), (3, 184, 0), (3, 184, 0))),
    (112, 1, "hswish", ((3, 480, 1), (3, 672, 1))),
    (160, 2, "hswish", ((5, 672, 1), (5, 960, 1), (5, 960, 1))),
)
_V3_SMALL = (
    (16, 2, "relu", ((3, 16, 1),)),
    (24, 2, "relu", ((3, 72, 0), (3, 88, 0))),
    (40, 2, "hswish", ((5, 96, 1), (5, 240, 1), (5, 240, 1))),
    (48, 1, "hswish", ((5, 120, 1), (5, 144, 1))),
    (96, 2, "hswish", ((5, 288, 1), (5, 576, 1), (5, 576, 1))),
)
# MnasNet, Tan et al. 2019, Figure 7, and EfficientNet, Tan and Le 2019, Table 1:
# (repeats, kernel, stride, expansion, channels, SE ratio of the block's input).
_MNASNET_A1 = (
    (1, 3, 1, 1, 16, 0),
    (2, 3, 2, 6, 24, 0),
    (3, 5, 2, 3, 40, 0.25),
    (4, 3, 2, 6, 80, 0),
    (2, 3, 1, 6, 112, 0.25),
    (3, 5, 2, 6, 160, 0.25),
    (1, 3, 1, 6, 320, 0),
)
_MNASNET_B1 = (
    (1, 3, 1, 1, 16, 0),
    (3, 3, 2, 3, 24, 0),
    (3, 5, 2, 3, 40, 0),
    (3, 5, 2, 6, 80, 0),
    (2, 3, 1, 6, 96, 0),
    (4, 5, 2, 6, 192, 0),
    (1, 3, 1, 6, 320, 0),
)
_EFFICIENTNET = (
    (1, 3, 1, 1, 16, 0.25),
    (2, 3, 2, 6, 24, 0.25),
    (2, 5, 2, 6, 40, 0.25),
    (3, 3, 2, 6, 80, 0.25),
    (3, 5, 1, 6, 112, 0.25),
    (4, 5, 2, 6, 192, 0.25),
    (1, 3, 1, 6, 320, 0.25),
)


def mobilenet_v1(width: float = 1.0, resolution: int = 224) -> Arch:
    """MobileNetV1 at width multiplier alpha and resolution multiplier rho = resolution / 224.

    Widths are max(8, int(alpha * channels)) and nothing rounds to multiples of 8 (slim).
    """

    def alpha(channels: int) -> int:
        return max(8, int(channels * width))

    block = Block(op="separable", act="relu6", skip=False)
    return Arch(
        stages=tuple(Stage(width=alpha(c), stride=s, blocks=block) for c, s in _V1),
        stem=Stem(width=alpha(32), act="relu6"),
        head=Head(width=0, act="relu6", dropout=0.001),
        resolution=resolution,
    )


def mobilenet_v2(width: float = 1.0, resolution: int = 224) -> Arch:
    """MobileNetV2; multipliers below one leave the last convolution at 1280 (section 6.1.1)."""
    stages = tuple(
        Stage(
            width=round_channels(c * width),
            depth=n,
            stride=s,
            blocks=Block(op="mbconv", expand=t, act="relu6"),
        )
        for t, c, n, s in _V2
    )
    return Arch(
        stages=stages,
        stem=Stem(width=round_channels(32 * width), act="relu6"),
        head=Head(width=round_channels(1280 * max(1.0, width)), act="relu6"),
        resolution=resolution,
    )


def _mobilenet_v3(large: bool, minimal: bool, width: float, resolution: int, tf: bool) -> Arch:
    """MobileNetV3 and its minimalistic variants: no SE, no h-swish, no 5x5 kernels (TF README).

    At multipliers other than 1 two networks bear the name.  TensorFlow's checkpoints keep the
    expansion ratios and the width of the hidden layer, and the stem from shrinking; torchvision
    scales hidden channels, stem and hidden layer each by themselves.
    """

    def times(channels: int) -> int:
        return round_channels(channels * width)

    def block(cin: int, act: str, kernel: int, hidden: int, se: int) -> Block:
        return Block(
            op="mbconv",
            kernel=3 if minimal else kernel,
            expand=hidden / cin if tf else times(hidden) / times(cin),
            se=0.0 if minimal else 0.25 * se,
            act="relu" if minimal else act,
            se_from="expanded",
            se_gate="hsigmoid",
            se_act="relu",
        )

    table, hidden = (_V3_LARGE, 1280) if large else (_V3_SMALL, 1024)
    cin, stages = 16, []
    for width_out, stride, act, rows in table:
        inputs = (cin, *(width_out for _ in rows[1:]))
        blocks = tuple(block(c, act, *row) for c, row in zip(inputs, rows, strict=True))
        stages.append(Stage(width=times(width_out), depth=len(rows), stride=stride, blocks=blocks))
        cin = width_out
    act = "relu" if minimal else "hswish"
    return Arch(
        stages=tuple(stages),
        stem=Stem(width=16 if tf and width < 1 else times(16), act=act),
        head=Head(width=6 * stages[-1].width, act=act, hidden=hidden if tf else times(hidden)),
        resolution=resolution,
        bn_eps=1e-3,
        bn_momentum=0.01,
    )


def mobilenet_v3_large(width: float = 1.0, resolution: int = 224, tf: bool = False) -> Arch:
    """MobileNetV3-Large, Table 1; `tf` for TensorFlow's way with widths other than 1."""
    return _mobilenet_v3(True, False, width, resolution, tf)


def mobilenet_v3_small(width: float = 1.0, resolution: int = 224, tf: bool = False) -> Arch:
    """MobileNetV3-Small, Table 2; `tf` for TensorFlow's way with widths other than 1."""
    return _mobilenet_v3(False, False, width, resolution, tf)


Rows = tuple[tuple[int, int, int, float, int, float], ...]


def _stages(rows: Rows, width: float, act: str) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            width=round_channels(c * width),
            depth=n,
            stride=s,
            blocks=Block(op="mbconv", kernel=k, expand=e, se=se, act=act),
        )
        for n, k, s, e, c, se in rows
    )


def _mnasnet(rows: Rows, width: float, resolution: int) -> Arch:
    return Arch(
        stages=_stages(rows, width, "relu"),
        stem=Stem(width=round_channels(32 * width)),
        head=Head(width=1280),
        resolution=resolution,
        bn_momentum=3e-4,
    )


def mnasnet_a1(width: float = 1.0, resolution: int = 224) -> Arch:
    """MnasNet-A1, with squeeze-and-excitation; the last convolution stays at 1280."""
    return _mnasnet(_MNASNET_A1, width, resolution)


def mnasnet_b1(width: float = 1.0, resolution: int = 224) -> Arch:
    """MnasNet-B1, without squeeze-and-excitation."""
    return _mnasnet(_MNASNET_B1, width, resolution)


def _efficientnet_base(rows: Rows, act: str) -> Arch:
    return Arch(
        stages=_stages(rows, 1.0, act),
        stem=Stem(width=32, act=act),
        head=Head(width=1280, act=act),
    )


def efficientnet(name: str = "b0", width: float = 1.0, resolution: int | None = None) -> Arch:
    """EfficientNet-B0 scaled by the table's row `name`, its width times `width`."""
    wide, deep, side, dropout = EFFICIENTNETS[name]
    base = _efficientnet_base(_EFFICIENTNET, "swish")
    arch = scaled(base, depth=deep, width=wide * width, resolution=resolution or side)
    eps, momentum = (1e-5, 0.1) if name in {"b0", "b1", "b2", "b3", "b4"} else (1e-3, 0.01)
    head = replace(arch.head, dropout=dropout)
    return replace(arch, head=head, bn_eps=eps, bn_momentum=momentum, drop_path=0.2)


def efficientnet_lite(
    name: str = "lite0", width: float = 1.0, resolution: int | None = None
) -> Arch:
    """EfficientNet-Lite: no SE, ReLU6, stem, head and the end stages' depths fixed."""
    wide, deep, side, dropout = EFFICIENTNET_LITES[name]
    rows = tuple((n, k, s, e, c, 0) for n, k, s, e, c, _ in _EFFICIENTNET)
    base = _efficientnet_base(rows, "relu6")
    arch = scaled(
        base, depth=deep, width=wide * width, resolution=resolution or side, fixed_ends=True
    )
    return replace(arch, head=replace(arch.head, dropout=dropout), drop_path=0.2)


def tensorflow(arch: Arch) -> Arch:
    """`arch` as the TensorFlow release runs it: SAME padding, eps 1e-3, 1x1 convolution tail."""
    tail = "conv" if arch.head.hidden_layer == "linear" else arch.head.hidden_layer
    head = replace(arch.head, hidden_layer=tail)
    return replace(arch, head=head, padding="same", bn_eps=1e-3, bn_momentum=0.01)


# (width multiplier, resolution, whether TensorFlow's conventions are wanted) -> network
Maker = Callable[[float, int, bool], Arch]


def _named(make: Callable[[str, float, int], Arch], name: str) -> Maker:
    return lambda width, resolution, tf: make(name, width, resolution)


MAKERS: dict[str, Maker] = {
    "mobilenet_v1": lambda w, r, tf: mobilenet_v1(w, r),
    "mobilenet_v2": lambda w, r, tf: mobilenet_v2(w, r),
    "mobilenet_v3_large": mobilenet_v3_large,
    "mobilenet_v3_small": mobilenet_v3_small,
    "mobilenet_v3_large_minimal": lambda w, r, tf: _mobilenet_v3(True, True, w, r, tf),
    "mobilenet_v3_small_minimal": lambda w, r, tf: _mobilenet_v3(False, True, w, r, tf),
    "shufflenet_v2": lambda w, r, tf: shufflenet_v2(w, r),
    "mnasnet_a1": lambda w, r, tf: mnasnet_a1(w, r),
    "mnasnet_b1": lambda w, r, tf: mnasnet_b1(w, r),
    **{f"efficientnet_{n}": _named(efficientnet, n) for n in EFFICIENTNETS},
    **{f"efficientnet_{n}": _named(efficientnet_lite, n) for n in EFFICIENTNET_LITES},
    **{f"efficientnet_v2_{n}": _named(efficientnet_v2, n) for n in EFFICIENTNETS_V2},
    **{f"mobilenet_v4_conv_{n}": _named(mobilenet_v4_conv, n) for n in RESOLUTIONS_V4},
}
# pixels a side where a name says none, if not 224
RESOLUTIONS = {
    **{f"efficientnet_{n}": row[2] for n, row in TABLES.items()},
    **{f"efficientnet_v2_{n}": row[4] for n, row in EFFICIENTNETS_V2.items()},
    **{f"mobilenet_v4_conv_{n}": side for n, side in RESOLUTIONS_V4.items()},
}
