"""Networks scaled in depth, width and resolution: the rules, and the official rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

from nas.arch.arch import Arch, Stage
from nas.arch.layers import round_channels
from nas.core.errors import UserError, unknown

# Tan and Le 2019, section 4: alpha, beta, gamma.
EFFICIENTNET = (1.2, 1.1, 1.15)

# EfficientNet and EfficientNet-Lite code: (width, depth, resolution, dropout).
EFFICIENTNETS = {
    "b0": (1.0, 1.0, 224, 0.2), "b1": (1.0, 1.1, 240, 0.2), "b2": (1.1, 1.2, 260, 0.3),
    "b3": (1.2, 1.4, 300, 0.3), "b4": (1.4, 1.8, 380, 0.4), "b5": (1.6, 2.2, 456, 0.4),
    "b6": (1.8, 2.6, 528, 0.5), "b7": (2.0, 3.1, 600, 0.5), "b8": (2.2, 3.6, 672, 0.5),
    "l2": (4.3, 5.3, 800, 0.5),
}  # fmt: skip
EFFICIENTNET_LITES = {
    "lite0": (1.0, 1.0, 224, 0.2), "lite1": (1.0, 1.1, 240, 0.2), "lite2": (1.1, 1.2, 260, 0.3),
    "lite3": (1.2, 1.4, 280, 0.3), "lite4": (1.4, 1.8, 300, 0.3),
}  # fmt: skip
TABLES = {**EFFICIENTNETS, **EFFICIENTNET_LITES}

REPEATS = ("ceil", "nearest")
MIN_FACTOR = 1e-3  # and its inverse is the largest: what lies beyond is a slip of the keyboard


@dataclass(frozen=True, slots=True)
class Factors:
    """What a baseline's depth, width and resolution are multiplied by, before any rounding."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not MIN_FACTOR <= value <= 1 / MIN_FACTOR:
                raise UserError(
                    f"the factor of {name} is {value:.4g}: allowed is "
                    f"{MIN_FACTOR:g} to {1 / MIN_FACTOR:g}; take phi nearer to 0"
                )

    @property
    def cost(self) -> float:
        """The multiply-adds that depth * width^2 * resolution^2 promises, in the baseline's."""
        return self.depth * self.width**2 * self.resolution**2


def formula(alpha: float, beta: float, gamma: float, phi: float) -> Factors:
    """Compound scaling (Tan and Le 2019, equation 3): alpha^phi, beta^phi, gamma^phi."""
    for name, base in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not 0 < base < math.inf:
            raise UserError(f"{name} must be a number above 0, not {base!r}")
    # by logarithms, since 10.0 ** 400 is an OverflowError and not infinity
    return Factors(*(_power(math.log(base) * phi) for base in (alpha, beta, gamma)))


def _power(exponent: float) -> float:
    return math.exp(min(exponent, 700.0)) if exponent else 1.0


def dwr(cost: float, share: float = 0.8) -> Factors:
    """Factors that cost `cost` times the multiply-adds, most of them by width ("dWr").

    Dollar, Singh and Girshick 2021, "Fast and Accurate Model Scaling", and pycls's scaler: width
    takes the part `share` of the logarithm of the cost, depth and resolution half of the rest
    each; at 0.8 the exponents of depth, width and resolution are 0.1, 0.4 and 0.05.
    """
    rest, log = (1 - share) / 2, math.log(cost)
    return Factors(*(_power(log * e) for e in (rest, share / 2, rest / 2)))


uniform = partial(dwr, share=1 / 3)  # a third of the logarithm by each dimension


def single_axis(axis: str, cost: float) -> Factors:
    """Factors that cost `cost` times the multiply-adds, by one dimension alone."""
    exponents = {"depth": 1.0, "width": 0.5, "resolution": 0.5}
    if axis not in exponents:
        raise unknown("dimension", axis, exponents)
    return Factors(**{axis: _power(exponents[axis] * math.log(cost))})


# Rules without coefficients: from a multiple of the baseline's multiply-adds to factors.
RULES: dict[str, Callable[[float], Factors]] = {
    "dwr": dwr,
    "uniform": uniform,
    "depth": partial(single_axis, "depth"),
    "width": partial(single_axis, "width"),
    "resolution": partial(single_axis, "resolution"),
}


def published(name: str) -> Factors:
    """The factors of B0..B8 and L2 over B0, and of Lite0..4 over Lite0, by the tables."""
    if name not in TABLES:
        raise unknown("published scaling", name, TABLES)
    width, depth, side, _ = TABLES[name]
    return Factors(depth, width, side / 224)  # pixels of B0 and Lite0


def as_published(arch: Arch, name: str) -> Arch:
    """`arch` scaled as that row of the tables was from its baseline, dropout included."""
    grown = apply(arch, published(name), fixed_ends=name in EFFICIENTNET_LITES)
    return replace(grown, head=replace(grown.head, dropout=TABLES[name][3]))


def apply(arch: Arch, factors: Factors, *, fixed_ends: bool = False, repeats: str = "ceil") -> Arch:
    """`arch` times `factors`, rounded as `scaled` does; the resolution to the nearest pixel.

    Raises UserError where the input becomes too small for the strides, or too large to be one.
    """
    return scaled(
        arch,
        depth=factors.depth,
        width=factors.width,
        resolution=max(1, round(arch.resolution * factors.resolution)),
        fixed_ends=fixed_ends,
        repeats=repeats,
    )


def scaled(
    arch: Arch,
    *,
    depth: float = 1.0,
    width: float = 1.0,
    resolution: int | None = None,
    fixed_ends: bool = False,
    repeats: str = "ceil",
) -> Arch:
    """`arch` with its depths times `depth` (ceil) and its widths times `width` (multiples of 8).

    The rules of the EfficientNet code; `resolution` is in pixels.  A width of 1 rounds nothing, and
    a hidden layer of the head keeps its width.  With `fixed_ends` stem, head, and the depths of
    first and last stage stay (EfficientNet-Lite).  With
    `repeats="nearest"` depths go to the nearest whole number, but not from 1 to 0.
    """
    if repeats not in REPEATS:
        raise unknown("rounding of repeats", repeats, REPEATS)

    def wide(channels: int) -> int:
        # 1 leaves alone even what is no multiple of 8; a head may have width 0
        return channels if width == 1 or not channels else round_channels(channels * width)

    def stage(index: int, old: Stage) -> Stage:
        end = fixed_ends and index in {0, len(arch.stages) - 1}
        deep = old.depth if end else _repeats(depth * old.depth, repeats)
        return replace(old, depth=deep, width=wide(old.width))

    stem, head = arch.stem, arch.head
    if not fixed_ends:
        stem, head = replace(stem, width=wide(stem.width)), replace(head, width=wide(head.width))
    stages = tuple(stage(i, s) for i, s in enumerate(arch.stages))
    side = resolution or arch.resolution
    return replace(arch, stages=stages, stem=stem, head=head, resolution=side)


def _repeats(exact: float, rounding: str) -> int:
    # ceil of a float product must not turn 2.2 * 25 = 55.000000000000007 into 56
    exact = round(exact, 9)
    return math.ceil(exact) if rounding == "ceil" or exact < 1 else math.floor(exact + 0.5)


def for_resolution(arch: Arch, resolution: int, least_side: int = 3) -> Arch:
    """`arch` for inputs of `resolution` pixels, without the strides that would shrink it too far.

    A stride that would leave a feature map of fewer than `least_side` pixels a side becomes 1.
    3 pixels is what the smallest published configuration leaves (MobileNetV1 and V2 at 96
    pixels).  Raises UserError where the input itself is smaller.
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
