"""The default space: MnasNet- and EfficientNet-like stages of inverted residuals.

The stages are EfficientNet-B0's (Tan and Le 2019, Table 1; the same strides as MnasNet's and,
but for its widths, MobileNetV2's); each stage chooses kernel, expansion ratio, squeeze-and-
excitation, activation, depth and width, as in MnasNet (Tan et al. 2019, section 4.1), whose
widths too are relative to those of a hand-made network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from nas.arch import Arch, Block, Head, Stage, Stem, round_channels
from nas.arch.fields import ACTIVATIONS
from nas.core.typed import Among, Count, Multiplier, Range, Side
from nas.space import one_of
from search_spaces.ranges import Dropout, Expand, Kernel, Squeeze, check_ranges

# EfficientNet-B0's stages: (channels, stride).
_STAGES = ((16, 1), (24, 2), (40, 2), (80, 2), (112, 1), (192, 2), (320, 1))
_STEM = 32


# Long, since every range of the space is a parameter of its one function.
def mbconv(
    *,
    kernels: Sequence[Kernel] = (3, 5, 7),
    expands: Sequence[Expand] = (3, 4, 6),
    se: Sequence[Squeeze] = (0, 0.25),
    acts: Sequence[Annotated[str, Among(ACTIVATIONS)]] = ("relu", "relu6", "hswish", "swish"),
    depths: Sequence[Annotated[int, Range(0, 1000)]] = (0, 1, 2, 3, 4),
    widths: Sequence[Multiplier] = (0.5, 0.75, 0.85, 1.0),
    heads: Sequence[Count] = (160, 320, 640, 1280),
    dropout: Dropout = 0.2,
    width: Multiplier = 1.0,
    resolution: Side = 224,
    channels: Count = 3,
    classes: Count = 1000,
) -> Arch:
    """The space at an overall width multiplier `width`; the rest are the ranges of its choices.

    widths   multipliers of each stage's own width, rounded to multiples of 8; 0.75 and 0.85 make
             MobileNetV2's and MnasNet's widths of EfficientNet's.
    acts     chosen once for stem and head and once for each stage.
    depths   of the stages in the middle, 0 to skip one; the first and the last have one block,
             and the first kernel 3 and expansion ratio 1, as in all members.
    """
    check_ranges(mbconv, kernels=kernels, expands=expands, se=se, acts=acts, depths=depths)
    check_ranges(mbconv, widths=widths, heads=heads)

    def stage(index: int, channels: int, stride: int) -> Stage:
        first, end = index == 0, index in {0, len(_STAGES) - 1}
        block = Block(
            kernel=3 if first else one_of(*kernels),
            expand=1 if first else one_of(*expands),
            se=one_of(*se),
            act=one_of(*acts),
        )
        options = [round_channels(channels * width * m) for m in ([1.0] if first else widths)]
        return Stage(
            width=one_of(*options),
            depth=1 if end else one_of(*depths),
            stride=stride,
            blocks=block,
        )

    act = one_of(*acts, name="act")  # of stem and head
    return Arch(
        stages=tuple(stage(i, c, s) for i, (c, s) in enumerate(_STAGES)),
        stem=Stem(width=round_channels(_STEM * width), act=act),
        head=Head(width=one_of(*heads), act=act, dropout=dropout),
        resolution=resolution,
        channels=channels,
        classes=classes,
    )
