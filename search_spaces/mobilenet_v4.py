"""MobileNetV4's convolutional networks (Qin et al. 2024), and a space around the smaller two.

The paper searched its networks among universal inverted bottlenecks, each with its own two
depthwise kernels, and never released the search.  Here each block chooses both kernels (0 for
none, so all four instances) and its expansion ratio, each stage its depth and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from nas.arch import Arch, Block, Head, Stage, Stem, round_channels
from nas.core.errors import UserError
from nas.core.typed import Count, Multiplier, Range, Side
from nas.space import one_of
from search_spaces.ranges import Dropout, Expand, KernelOrNone, check_ranges

Rows = tuple[tuple[int, int, float], ...]  # kernel before the expansion, kernel after it, ratio

# The tables of the paper's appendix, as timm builds them: (channels, blocks) of the stages that
# halve the side, behind a first stage of full convolutions.
_SMALL: tuple[tuple[int, Rows], ...] = (
    (96, ((5, 5, 3), *[(0, 3, 2)] * 4, (3, 0, 4))),
    (128, ((3, 3, 6), (5, 5, 4), (0, 5, 4), (0, 5, 3), *[(0, 3, 4)] * 2)),
)
_MEDIUM: tuple[tuple[int, Rows], ...] = (
    (80, ((3, 5, 4), (3, 3, 2))),
    (160, ((3, 5, 6), *[(3, 3, 4)] * 2, (3, 5, 4), (3, 3, 4), (3, 0, 4), (0, 0, 2), (3, 0, 4))),
    (256, ((5, 5, 6), (5, 5, 4), *[(3, 5, 4)] * 2, (0, 0, 4), (3, 0, 4), (3, 5, 2), (5, 5, 4),
           *[(0, 0, 4)] * 2, (5, 0, 2))),
)  # fmt: skip
_LARGE: tuple[tuple[int, Rows], ...] = (
    (96, ((3, 5, 4), (3, 3, 4))),
    (192, ((3, 5, 4), *[(3, 3, 4)] * 3, (3, 5, 4), *[(5, 3, 4)] * 5, (3, 0, 4))),
    (512, (*[(5, 5, 4)] * 4, (5, 0, 4), (5, 3, 4), *[(5, 0, 4)] * 2, (5, 3, 4), (5, 5, 4),
           *[(5, 0, 4)] * 3)),
)  # fmt: skip
_ROWS = {"small": _SMALL, "medium": _MEDIUM, "large": _LARGE}
_HEAD, _HIDDEN = 960, 1280  # channels before and after the pooling
_CONV, _POINTWISE, _FUSED = Block("conv"), Block("conv", kernel=1), Block("fused", expand=4)
# pixels a side that the networks were trained for
RESOLUTIONS_V4 = {"small": 224, "medium": 256, "large": 384}


def mobilenet_v4_conv(name: str, width: float = 1.0, resolution: int | None = None) -> Arch:
    """MobileNetV4-Conv-Small, -Medium or -Large; a width below 1 leaves the stem, as in timm."""

    def times(channels: int) -> int:
        return round_channels(channels * width)

    def stage(channels: int, rows: Rows) -> Stage:
        blocks = tuple(_uib(*row) for row in rows)
        return Stage(width=times(channels), depth=len(rows), stride=2, blocks=blocks)

    deep = [stage(*row) for row in _ROWS[name]]
    # Small's pointwise convolution has a stage of its own.  The others skip it, so that all of
    # them are points of one space.
    thin = Stage(width=times(64), depth=int(name == "small"), blocks=_POINTWISE)
    if name == "small":
        pair = Stage(width=times(32), depth=2, stride=2, blocks=(_CONV, _POINTWISE))
        start = (pair, Stage(width=times(96), stride=2, blocks=_CONV), thin)
    else:
        start = (Stage(width=times(48), stride=2, blocks=_FUSED), deep.pop(0), thin)
    return Arch(
        stages=(*start, *deep),
        stem=_stem(24 if name == "large" else 32, width),
        head=Head(width=times(_HEAD), hidden=_HIDDEN, hidden_layer="conv_norm"),
        resolution=resolution or RESOLUTIONS_V4[name],
    )


def _uib(first_kernel: int, kernel: int, expand: float) -> Block:
    return Block("uib", kernel=kernel, expand=expand, first_kernel=first_kernel)


def _stem(channels: int, width: float) -> Stem:
    return Stem(width=round_channels(channels * max(1.0, width)))


# Long, since every range of the space is a parameter of its one function.
def mobilenet_v4(
    *,
    first_kernels: Sequence[KernelOrNone] = (0, 3, 5),
    kernels: Sequence[KernelOrNone] = (0, 3, 5),
    expands: Sequence[Expand] = (2, 3, 4, 6),
    depths: Sequence[Annotated[int, Range(1, 11)]] = (2, 4, 6, 8, 11),
    widths: Sequence[Multiplier] = (0.75, 1.0),
    dropout: Dropout = 0.2,
    width: Multiplier = 1.0,
    resolution: Side = 224,
    channels: Count = 3,
    classes: Count = 1000,
) -> Arch:
    """The space around MobileNetV4-Conv-Small and -Medium at an overall width multiplier `width`.

    first_kernels, kernels   of a block's depthwise convolutions before and after the expansion,
             0 for none.
    depths   blocks of the last two stages, of at most Medium's 8 and 11.
    widths   multipliers of the widths that either network has in a stage, and of the head's,
             rounded to multiples of 8.
    """
    check_ranges(mobilenet_v4, first_kernels=first_kernels, kernels=kernels, expands=expands)
    check_ranges(mobilenet_v4, depths=depths, widths=widths)
    if min(depths) > 8:
        raise UserError(
            f"space.depths must hold one from 1 to 8, for the last stage but one, not {min(depths)}"
        )
    dense = [k for k in kernels if k] or [3]  # of a block that may be a full convolution

    def wide(*own: int) -> int:
        options = {round_channels(c * width * m) for c in own for m in widths}
        return one_of(*sorted(options))  # type: ignore[no-any-return]  # a hole stands for its value

    def block(op: str, kernels: Sequence[int]) -> Block:
        return Block(
            op,
            kernel=one_of(*kernels),
            expand=one_of(*expands),
            first_kernel=one_of(*first_kernels),
        )

    def stage(depth: int, *own: int) -> Stage:
        blocks = tuple(block("uib", kernels) for _ in range(depth))
        deep = one_of(*(d for d in depths if d <= depth))
        return Stage(width=wide(*own), depth=deep, stride=2, blocks=blocks)

    start = replace(_FUSED, op=one_of("conv", "fused"))
    second = block(one_of("conv", "uib"), dense), block("uib", kernels)
    return Arch(
        stages=(
            Stage(width=wide(32, 48), depth=one_of(1, 2), stride=2, blocks=(start, _POINTWISE)),
            Stage(width=wide(96, 80), depth=one_of(1, 2), stride=2, blocks=second),
            Stage(width=wide(64), depth=one_of(0, 1), blocks=_POINTWISE),
            stage(8, 96, 160),
            stage(11, 128, 256),
        ),
        stem=_stem(32, width),
        head=Head(width=wide(_HEAD), hidden=_HIDDEN, hidden_layer="conv_norm", dropout=dropout),
        resolution=resolution,
        channels=channels,
        classes=classes,
    )
