"""Networks scaled in depth, width and resolution, with the official rounding."""

from __future__ import annotations

import math
from dataclasses import replace

from nas.arch import Arch, Stage
from nas.blocks import round_channels
from nas.errors import UserError


def scaled(
    arch: Arch,
    *,
    depth: float = 1.0,
    width: float = 1.0,
    resolution: int | None = None,
    fixed_ends: bool = False,
) -> Arch:
    """`arch` with its depths times `depth` (ceil) and its widths times `width` (multiples of 8).

    The rules of the EfficientNet code: `round_repeats` is ceil(depth * repeats) and
    `round_filters` is `nas.blocks.round_channels`; `resolution` is in pixels.  With `fixed_ends`
    the stem, the head, and the depths of first and last stage stay (EfficientNet-Lite).
    """

    def stage(index: int, old: Stage) -> Stage:
        end = fixed_ends and index in {0, len(arch.stages) - 1}
        # ceil of a float product must not turn 2.2 * 25 = 55.000000000000007 into 56
        repeats = old.depth if end else math.ceil(round(depth * old.depth, 9))
        return replace(old, depth=repeats, width=round_channels(old.width * width))

    stem, head = arch.stem, arch.head
    if not fixed_ends:
        stem = replace(stem, width=round_channels(stem.width * width))
        if head.width:
            head = replace(head, width=round_channels(head.width * width))
    return replace(
        arch,
        stages=tuple(stage(i, s) for i, s in enumerate(arch.stages)),
        stem=stem,
        head=head,
        resolution=resolution or arch.resolution,
    )


def for_resolution(arch: Arch, resolution: int, least_side: int = 3) -> Arch:
    """`arch` for inputs of `resolution` pixels, without the strides that would shrink it too far.

    A stride that would leave a feature map of fewer than `least_side` pixels a side becomes 1.
    3 pixels is what the smallest published configuration leaves (MobileNetV1 and V2 at 96
    pixels), so published networks are unchanged wherever they were published, and at 28 or 32
    pixels the first three strides remain.  Raises UserError where the input itself is smaller.
    """
    if resolution < least_side:
        raise UserError(f"resolution {resolution} is too small: allowed is {least_side} or more")

    def fitting(side: int, stride: int) -> tuple[int, int]:
        after = -(-side // stride)
        return (stride, after) if after >= least_side else (1, side)

    stride, side = fitting(resolution, arch.stem.stride)
    stem, stages = replace(arch.stem, stride=stride), []
    for stage in arch.stages:
        stride, side = fitting(side, stage.stride)
        stages.append(replace(stage, stride=stride))
    return replace(arch, stages=tuple(stages), stem=stem, resolution=resolution)
