"""A space around MobileNetV3, every block choosing for itself.

Like TuNAS's MobileNetV3-like space (Bender et al. 2020, Table 3: by block kernel {3, 5, 7},
expansion ratio {1, 2, 3, 4, 5, 6} and squeeze-and-excitation; by stage the width in eighths),
around MobileNetV3's own widths and expansion ratios, with depth as in once-for-all, and the
activation by stage.  Published networks are members at width 1 alone: at others their hidden
channels are rounded by themselves, or their stem stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from nas.arch import Arch, Block, Head, Stage, Stem, round_channels
from nas.arch.fields import ACTIVATIONS
from nas.core.errors import unknown
from nas.core.typed import Among, Count, Multiplier, Range, Side
from nas.space import one_of
from search_spaces.ranges import Dropout, Expand, Kernel, Squeeze, check_ranges

# Howard et al. 2019, Tables 1 and 2: (channels, stride, largest depth); the first stage has one
# block.  V3-Small's own tables have at most three blocks, V3-Large's four.
_DEEPEST = 4
_BASES = {
    "large": (((16, 1, 1), (24, 2, 4), (40, 2, 4), (80, 2, 4), (112, 1, 4), (160, 2, 4)), 1280),
    "small": (((16, 2, 1), (24, 2, 4), (40, 2, 4), (48, 1, 4), (96, 2, 4)), 1024),
}
# V3-Large's 2.3 and 2.5; V3-Small's 72/16 = 4.5 and 88/24.
_EXPANDS = (1, 2, 2.3, 2.5, 3, 88 / 24, 4, 4.5, 5, 6)


# Long, since every range of the space is a parameter of its one function.
def mobilenet_v3(
    *,
    base: Annotated[str, Among(_BASES)] = "large",
    kernels: Sequence[Kernel] = (3, 5, 7),
    expands: Sequence[Expand] = _EXPANDS,
    se: Sequence[Squeeze] = (0, 0.25),
    acts: Sequence[Annotated[str, Among(ACTIVATIONS)]] = ("relu", "hswish"),
    depths: Sequence[Annotated[int, Range(0, _DEEPEST)]] = (1, 2, 3, 4),
    widths: Sequence[Multiplier] = (0.5, 0.625, 0.75, 0.875, 1.0, 1.25, 1.5),
    dropout: Dropout = 0.2,
    width: Multiplier = 1.0,
    resolution: Side = 224,
    channels: Count = 3,
    classes: Count = 1000,
) -> Arch:
    """The space around MobileNetV3-Large or -Small at an overall width multiplier `width`.

    SE squeezes the expanded width, with ReLU inside and a hard sigmoid gate (section 5.3).  The
    1x1 convolution of the head is six times the base's last stage, or a multiple of it by `widths`.
    """
    if base not in _BASES:
        raise unknown("base of the space mobilenet_v3", base, _BASES)
    check_ranges(mobilenet_v3, kernels=kernels, expands=expands, se=se, acts=acts)
    check_ranges(mobilenet_v3, depths=depths, widths=widths)
    table, hidden = _BASES[base]

    def times(c: int, multiplier: float) -> int:
        return round_channels(c * width * multiplier)

    def block(first: bool, act: object) -> Block:
        return Block(
            kernel=one_of(*kernels),
            expand=1 if first else one_of(*expands),
            se=one_of(*se),
            act=act,  # type: ignore[arg-type]  # a hole stands for its value
            se_from="expanded",
            se_gate="hsigmoid",
            se_act="relu",
        )

    def stage(index: int, c: int, stride: int, max_depth: int) -> Stage:
        act = one_of(*acts, name=f"stages.{index}.act")
        return Stage(
            width=one_of(*(times(c, m) for m in widths)),
            depth=one_of(*depths) if max_depth > 1 else 1,
            stride=stride,
            blocks=tuple(block(index == 0, act) for _ in range(max_depth)),
        )

    act = one_of(*acts, name="act")  # of stem and head
    last = times(table[-1][0], 1.0)
    return Arch(
        stages=tuple(stage(i, *row) for i, row in enumerate(table)),
        stem=Stem(width=times(16, 1.0), act=act),
        head=Head(
            width=one_of(*(round_channels(6 * last * m) for m in widths)),
            act=act,
            hidden=hidden,
            dropout=dropout,
        ),
        resolution=resolution,
        channels=channels,
        classes=classes,
    )
