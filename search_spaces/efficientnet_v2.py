"""EfficientNetV2's published networks (Tan and Le 2021), their papers' tables as rows.

S is the paper's Table 4; B0 to B3, for comparison with EfficientNet's, are of google/automl
(`effnetv2_configs.py`), whose code also rounds widths.
"""

from __future__ import annotations

from dataclasses import replace

from nas.arch import Arch, Block, Head, Stage, Stem
from nas.arch.layers import nearest_multiple
from nas.arch.scaling import scaled

# (repeats, kind of block, stride, expansion, channels); kernels are 3, and inverted residuals
# squeeze to a quarter of the block's input.
_S = (
    (2, "fused", 1, 1, 24),
    (4, "fused", 2, 4, 48),
    (4, "fused", 2, 4, 64),
    (6, "mbconv", 2, 4, 128),
    (9, "mbconv", 1, 6, 160),
    (15, "mbconv", 2, 6, 256),
)
_BASE = (
    (1, "fused", 1, 1, 16),
    (2, "fused", 2, 4, 32),
    (2, "fused", 2, 4, 48),
    (3, "mbconv", 2, 4, 96),
    (5, "mbconv", 1, 6, 112),
    (8, "mbconv", 2, 6, 192),
)
# (rows, channels of the stem, width, depth, resolution, dropout)
EFFICIENTNETS_V2 = {
    "s": (_S, 24, 1.0, 1.0, 384, 0.2),
    "b0": (_BASE, 32, 1.0, 1.0, 224, 0.2),
    "b1": (_BASE, 32, 1.0, 1.1, 240, 0.2),
    "b2": (_BASE, 32, 1.1, 1.2, 260, 0.3),
    "b3": (_BASE, 32, 1.2, 1.4, 300, 0.3),
}


def efficientnet_v2(name: str, width: float = 1.0, resolution: int | None = None) -> Arch:
    """EfficientNetV2 by the table's row `name`, its width times `width`.

    Widths round to the nearest multiple of 8, also where that takes more than a tenth away.
    """
    rows, stem, wide, deep, side, dropout = EFFICIENTNETS_V2[name]

    def times(channels: int) -> int:
        return nearest_multiple(channels * wide * width)

    stages = tuple(
        Stage(
            width=times(c),
            depth=n,
            stride=s,
            blocks=Block(op=op, expand=e, se=0.25 if op == "mbconv" else 0, act="swish"),
        )
        for n, op, s, e, c in rows
    )
    arch = Arch(
        stages=stages,
        stem=Stem(width=times(stem), act="swish"),
        head=Head(width=times(1280), act="swish", dropout=dropout),
        resolution=resolution or side,
        bn_eps=1e-3,
        drop_path=0.2,
    )
    return replace(arch, stages=scaled(arch, depth=deep).stages)
