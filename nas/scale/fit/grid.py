"""Triples on a grid, and the networks that they round to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.scaling import Factors, apply, formula
from nas.core.errors import UserError

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]

DOUBLE = 2.0  # phi = 1 is to cost twice the baseline (Tan and Le 2019, section 4, step 1)


@dataclass(frozen=True)
class Candidate:
    """A rounded network: the factors that were asked for and those that rounding made of them.

    triple   alpha, beta, gamma;  arch: what they round to where the fit is made
    x        [3] logarithms of the depth, width and resolution that it has over the baseline's
    ratio    its cost over the baseline's, NaN while unknown
    growth   mean cost ratio per unit of phi, measured at 3 phi; NaN while unknown
    at_three_phi   the network that its triple makes there, where that is known
    """

    triple: Triple
    arch: Arch
    x: Floats
    ratio: float = math.nan
    growth: float = math.nan
    at_three_phi: Arch | None = None

    @cached_property
    def id(self) -> str:
        """That of the network (`nas.arch.operators.network_id`)."""
        return network_id(self.arch)


def grid_values(step: float, low: float, high: float) -> list[float]:
    """low, low + step, ... up to `high`, without the dust of floats."""
    number = math.floor(round((high - low) / step, 9))
    return [round(low + i * step, 9) for i in range(number + 1)]


def triples(
    step: float = 0.05, tolerance: float = 0.10, low: float = 1.0, high: float = 2.0
) -> list[Triple]:
    """Triples with alpha * beta^2 * gamma^2 less than `tolerance` from 2.

    EfficientNet's grid as its paper words it; 108 triples at the defaults.  This counts the
    formula's cost; `fit_scaling` goes by what the rounded networks cost.
    """
    values = grid_values(step, low, high)
    return [
        (a, b, c)
        for a, b, c in itertools.product(values, repeat=3)
        if round(abs(a * b**2 * c**2 - DOUBLE), 9) < tolerance
    ]


def effective(baseline: Arch, arch: Arch) -> Floats:
    """Logarithms [3] of the depth, width and resolution of `arch` over those of `baseline`.

    Depth counts blocks; width is the geometric mean over the stages; resolution is in pixels.
    """
    blocks = [sum(stage.depth for stage in a.stages) for a in (baseline, arch)]
    widths = [
        math.log(new.width / old.width)
        for new, old in zip(arch.stages, baseline.stages, strict=True)
    ]
    resolution = math.log(arch.resolution / baseline.resolution)
    return np.array([math.log(blocks[1] / blocks[0]), float(np.mean(widths)), resolution])


@dataclass(frozen=True)
class Scaler:
    """A baseline, and how it is rounded when it is scaled (`nas.arch.scaling.apply`)."""

    baseline: Arch
    repeats: str = "ceil"
    fixed_ends: bool = False

    def __call__(self, factors: Factors) -> Arch:
        """The baseline times `factors`."""
        return apply(self.baseline, factors, repeats=self.repeats, fixed_ends=self.fixed_ends)

    def unscaled(self) -> Candidate:
        """The baseline itself, rounded."""
        arch = self(Factors())
        return Candidate((1.0, 1.0, 1.0), arch, effective(self.baseline, arch), ratio=1.0)

    def try_scale(self, factors: Factors, triple: Triple) -> Candidate | None:
        """What the factors make; None where its input gets too small for its strides."""
        try:
            arch = self(factors)
            made = Candidate(triple, arch, effective(self.baseline, arch))
            _ = made.id
        except UserError:
            return None
        return made


def distinct_networks(scaler: Scaler, values: Sequence[float], phi: int) -> list[Candidate]:
    """Every distinct rounded network of the grid at `phi` (1 or -1), with one triple each.

    Depth, width and resolution are rounded apart from one another, so values that round alike
    are found in each alone.  The value nearest to the effective factor stands for them all, since
    further powers of it then go on as the first began.
    """
    chosen: list[list[float]] = []
    for axis, name in enumerate(("depth", "width", "resolution")):
        nearest: dict[str, tuple[float, float]] = {}
        for value in values:
            net = scaler.try_scale(Factors(**{name: value**phi}), (value, value, value))
            if net:
                off = round(abs(phi * math.log(value) - net.x[axis]), 9)
                nearest[net.id] = min(nearest.get(net.id, (math.inf, value)), (off, value))
        chosen.append([value for _, value in nearest.values()])
    made = (
        scaler.try_scale(formula(*triple, phi), triple)
        for triple in ((a, b, c) for a, b, c in itertools.product(*chosen))
    )
    return [net for net in made if net]


def cost_exponents(nets: Sequence[Candidate], ratios: Floats) -> Floats:
    """Exponents [3] of cost in depth, width and resolution, by least squares over `nets`."""
    x = np.array([net.x for net in nets])
    slopes = np.linalg.lstsq(x, np.log(ratios), rcond=None)[0]
    # at least a little: a share of the cost is divided by what it grows with
    exponents: Floats = np.maximum(slopes, 0.05)
    return exponents
