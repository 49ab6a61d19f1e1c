"""Triples on a grid, and the networks that they round to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.scaling import Factors, apply, formula
from nas.core.errors import UserError
from nas.scale.fit.response_surface import Floats

Triple = tuple[float, float, float]

DOUBLE = 2.0  # phi = 1 is to cost twice the baseline (Tan and Le 2019, section 4, step 1)


@dataclass(frozen=True)
class Candidate:
    """A network that alpha, beta and gamma (`triple`) round to.

    x        [3] logarithms of its depth, width and resolution over the baseline's
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
        """The `network_id` of the network."""
        return network_id(self.arch)


def grid_values(step: float, low: float, high: float) -> list[float]:
    """low, low + step, ... up to `high`, without the dust of floats."""
    number = math.floor(round((high - low) / step, 9))
    return [round(low + i * step, 9) for i in range(number + 1)]


def triples(step: float, tolerance: float, low: float = 1.0, high: float = 2.0) -> list[Triple]:
    """EfficientNet's grid: triples with alpha * beta^2 * gamma^2 less than `tolerance` from 2."""
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
    stages = zip(arch.stages, baseline.stages, strict=True)
    width = float(np.mean([math.log(new.width / old.width) for new, old in stages]))
    resolution = math.log(arch.resolution / baseline.resolution)
    return np.array([math.log(blocks[1] / blocks[0]), width, resolution])


@dataclass(frozen=True)
class Scaler:
    """A baseline, and how `apply` rounds it."""

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
            _ = made.id  # raises UserError there
        except UserError:
            return None
        return made


def distinct_networks(scaler: Scaler, values: Sequence[float], phi: int) -> list[Candidate]:
    """Every distinct rounded network of the grid at `phi` (1 or -1), with one triple each.

    Each axis is rounded alone.  Of values that round alike the one nearest to the effective factor
    stands for all, since further powers of it go on as the first began.
    """
    chosen: list[list[float]] = []
    for axis, name in enumerate(("depth", "width", "resolution")):
        nearest: dict[str, tuple[float, float]] = {}
        for value in values:
            if net := scaler.try_scale(Factors(**{name: value**phi}), (value, value, value)):
                off = round(abs(phi * math.log(value) - net.x[axis]), 9)
                nearest[net.id] = min(nearest.get(net.id, (math.inf, value)), (off, value))
        chosen.append([value for _, value in nearest.values()])
    crossed = itertools.product(chosen[0], chosen[1], chosen[2])
    made = (scaler.try_scale(formula(*triple, phi), triple) for triple in crossed)
    return [net for net in made if net]
