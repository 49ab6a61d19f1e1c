"""What a fit may choose from: triples on a grid, the networks they round to, and the rivals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.arch.cost import cost as arithmetic
from nas.arch.operators import network_id
from nas.arch.scaling import EFFICIENTNET, RULES, Factors, apply, formula
from nas.core.errors import UserError
from nas.scale.fit.journal import CostRatios
from nas.scale.fit.response_surface import Data, Surface, fit_surface

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]
Scale = Callable[[Factors], Arch]  # the baseline times factors, rounded

DOUBLE = 2.0  # phi = 1 is to cost twice the baseline (Tan and Le 2019, section 4, step 1)
# MnasNet's product weighs cost itself: candidates cost from 1 / sqrt(2) to sqrt(2) of the target.
LACS_BAND = math.sqrt(2)
WIDEST = 0.5  # of a ratio of 2: a "double" cost beyond 1.5 to 2.5 would be none
LATER_PHI = 3  # times phi, where factors show that rounding hides at first, as a width of 1.1 of 8
STEPS = np.arange(0.04, 3.5, 0.04)  # nominal phi at which a rule is tried, up or down


@dataclass(frozen=True)
class Candidate:
    """A rounded network: the factors that were asked for and those that rounding made of them.

    triple   alpha, beta, gamma;  arch: what they round to where the fit is made
    x        [3] logarithms of the depth, width and resolution that it has over the baseline's
    ratio    its cost over the baseline's, NaN while unknown
    growth   what its triple multiplies the cost by each time that phi grows by the fit's, in the
             mean up to LATER times; NaN while unknown
    later    the network at LATER times phi, where that is known
    """

    triple: Triple
    arch: Arch
    x: Floats
    ratio: float = math.nan
    growth: float = math.nan
    later: Arch | None = None

    @cached_property
    def id(self) -> str:
        """That of the network (`nas.arch.operators.network_id`)."""
        return network_id(self.arch)


def steps(step: float, low: float, high: float) -> list[float]:
    """low, low + step, ... up to `high`, without the dust of floats."""
    number = math.floor(round((high - low) / step, 9))
    return [round(low + i * step, 9) for i in range(number + 1)]


def triples(
    step: float = 0.05, tolerance: float = 0.10, low: float = 1.0, high: float = 2.0
) -> list[Triple]:
    """Triples with alpha * beta^2 * gamma^2 less than `tolerance` from 2.

    EfficientNet's grid as its paper words it; 108 triples at the defaults.  This counts the
    formula's cost: what the rounded networks cost is another matter, and the one that `fit_scaling`
    goes by.
    """
    values = steps(step, low, high)
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
    side = math.log(arch.resolution / baseline.resolution)
    return np.array([math.log(blocks[1] / blocks[0]), float(np.mean(widths)), side])


def network(baseline: Arch, scale: Scale, factors: Factors, triple: Triple) -> Candidate:
    """What `factors` make of the baseline."""
    arch = scale(factors)
    return Candidate(triple, arch, effective(baseline, arch))


def possible(baseline: Arch, scale: Scale, factors: Factors, triple: Triple) -> Candidate | None:
    """What `factors` make of the baseline; None where its input gets too small for its strides."""
    try:
        made = network(baseline, scale, factors, triple)
        _ = made.id
    except UserError:
        return None
    return made


def networks(baseline: Arch, scale: Scale, values: Sequence[float], phi: int) -> list[Candidate]:
    """Every distinct rounded network of the grid at `phi`, with the triple nearest to what it is.

    Depth, width and resolution are rounded apart from one another, so values that round alike
    are found in each alone; of them the one nearest to the effective factor stands for all, since
    further powers of it then go on as the first began.
    """
    chosen: list[list[float]] = []
    for axis, name in enumerate(("depth", "width", "resolution")):
        nearest: dict[str, tuple[float, float]] = {}
        for value in values:
            net = possible(baseline, scale, Factors(**{name: value**phi}), (value,) * 3)
            if net:
                off = round(abs(phi * math.log(value) - net.x[axis]), 9)
                nearest[net.id] = min(nearest.get(net.id, (math.inf, value)), (off, value))
        chosen.append([value for _, value in nearest.values()])
    made = (
        possible(baseline, scale, formula(*triple, phi), triple)
        for triple in ((a, b, c) for a, b, c in itertools.product(*chosen))
    )
    return [net for net in made if net]


class Ratios:
    """Cost ratios of networks: the true ones, and estimates where the true ones take long."""

    def __init__(
        self,
        baseline: Arch,
        costs: CostRatios,
        nets: Sequence[Candidate],
        asked: int,
        target: float,
    ) -> None:
        self.baseline, self.costs, self.target = baseline, costs, target
        self.surface: Surface | None = self._learnt(nets, asked) if costs.slow else None

    def _learnt(self, nets: Sequence[Candidate], asked: int) -> Surface:
        """Cost, quadratic in the logarithms, from `asked` networks spread over those near.

        Near is from a quarter of the way to the target to LATER times as far.
        """
        unit, way = arithmetic(self.baseline).macs, math.log(self.target)
        near = [
            n for n in nets if 0.25 < math.log(arithmetic(n.arch).macs / unit) / way < LATER_PHI
        ]
        some = [near[i] for i in kennard_stone([net.x for net in near], asked)]
        x = np.array([np.zeros(3), *(net.x for net in some)])
        return fit_surface(Data.of(x, np.log(self.costs([self.baseline, *(n.arch for n in some)]))))

    def estimate(self, nets: Sequence[Candidate]) -> Floats:
        """Cost ratios [n], true where the cost is arithmetic."""
        if self.surface is None:
            return self.costs([net.arch for net in nets])
        values: Floats = np.exp(self.surface(np.array([net.x for net in nets]).reshape(-1, 3)))
        return values

    def true(self, nets: Sequence[Candidate]) -> list[Candidate]:
        """The networks with their true cost ratios, and the true growth of those with a `later`."""
        later = [net.later for net in nets if net.later]
        ratios = self.costs([*(net.arch for net in nets), *later])
        near, far = ratios[: len(nets)], iter(ratios[len(nets) :] ** (1 / LATER_PHI))
        return [
            replace(net, ratio=float(r), growth=float(next(far)) if net.later else math.nan)
            for net, r in zip(nets, near, strict=True)
        ]


def near_target(
    grid: Sequence[Candidate], about: Floats, baseline: Arch, scale: Scale, ratios: Ratios, phi: int
) -> list[Candidate]:
    """Those of `grid` whose cost, about `about` [n], may be the target, with ratio and growth.

    Both are true where the cost is arithmetic and estimates elsewhere.  A triple that makes the
    baseline too small on the way is none.
    """
    within = np.abs(np.log(about / ratios.target)) < math.log(DOUBLE)
    near = [
        replace(net, ratio=float(ratio))
        for net, ratio, close in zip(grid, about, within, strict=True)
        if close
    ]
    far = [possible(baseline, scale, formula(*n.triple, LATER_PHI * phi), n.triple) for n in near]
    growths = iter(ratios.estimate([net for net in far if net]) ** (1 / LATER_PHI))
    return [
        replace(net, growth=float(next(growths)), later=later.arch)
        for net, later in zip(near, far, strict=True)
        if later
    ]


def candidates(
    nets: Sequence[Candidate], ratios: Ratios, tolerance: float, least: int, most: int, soft: bool
) -> tuple[list[Candidate], float]:
    """Those of `nets` that truly cost the target and whose triples go on so in the mean.

    Returned with the tolerance that took.

    Small baselines round coarsely, and few of their networks cost nearly twice as much, or half:
    the `tolerance`, of a ratio of 2 and in proportion of another, is widened by steps until
    `least` networks are within, at most to WIDEST.  With `soft` all in LACS_BAND are.  Where costs
    are slow, those of `most` and of their `later` networks are asked for.
    """

    def off(net: Candidate) -> float:
        return max(abs(math.log(value / ratios.target)) for value in (net.ratio, net.growth))

    band, known = math.log(LACS_BAND), sorted(nets, key=off)
    if ratios.surface is not None:
        if soft:  # all over the band, not only its middle
            within = [net for net in known if off(net) < band]
            known = [within[i] for i in kennard_stone([net.x for net in within], most)]
        known = ratios.true(known[:most])
    if soft:
        found = [net for net in known if off(net) < band]
    else:
        wider = np.arange(0.15, WIDEST + 0.01, 0.05)
        for width in [tolerance, *(float(w) for w in wider if w > tolerance)]:
            tolerance = width
            found = [
                net
                for net in known
                if max(relative_deviation(v, ratios.target) for v in (net.ratio, net.growth))
                < width
            ]
            if len(found) >= least:
                break
    return sorted(found, key=lambda net: net.triple), tolerance


def relative_deviation(ratio: float, target: float) -> float:
    """How far a cost ratio is off, in proportion to a target of 2."""
    return round(abs(ratio / target - 1) * DOUBLE, 9)


def rules(triple: Triple | None = None) -> dict[str, Callable[[float], Factors]]:
    """Ways to spend a multiple of the cost, by name; a fitted `triple` first, if there is one."""

    def powers(triple: Triple) -> Callable[[float], Factors]:
        return lambda multiple: formula(*triple, math.log2(multiple))

    own = {"fitted": powers(triple)} if triple else {}
    return {**own, "efficientnet": powers(EFFICIENTNET), **RULES}


def rivals(
    baseline: Arch,
    scale: Scale,
    ratios: Ratios,
    ways: dict[str, Callable[[float], Factors]],
    target: float,
) -> dict[str, Candidate]:
    """For each way of scaling its rounded network whose true cost is nearest to `target` times.

    A rule's own promise of the cost is not believed: it is asked for many multiples, and what its
    networks cost decides.  A rule that cannot change the baseline, as depth alone cannot shrink
    stages of one block, is left out.  The triple is what the rule gives for a nominal doubling.
    """
    found = {}
    multiples = np.exp2(STEPS if target > 1 else -STEPS)
    for name, way in ways.items():
        double = way(DOUBLE)
        triple = (double.depth, double.width, double.resolution)
        made = (possible(baseline, scale, way(float(m)), triple) for m in multiples)
        tried = list({net.arch: net for net in made if net and net.x.any()}.values())
        if not tried:
            continue
        order = np.argsort(np.abs(np.log(ratios.estimate(tried) / target)), kind="stable")
        best = ratios.true([tried[i] for i in order[: 1 if ratios.surface is None else 3]])
        found[name] = min(best, key=lambda net: abs(math.log(net.ratio / target)))
    return found


def scaler(baseline: Arch, repeats: str, fixed_ends: bool) -> Scale:
    """The baseline times factors, with the rounding that was asked for."""
    return lambda factors: apply(baseline, factors, repeats=repeats, fixed_ends=fixed_ends)


def kennard_stone(points: Sequence[Floats], number: int, first: Sequence[Floats] = ()) -> list[int]:
    """Indices of `number` points, each the farthest from those before (Kennard and Stone 1969).

    `first` are points that are taken already; without any the one nearest to the middle begins.
    """
    number = min(number, len(points))
    if not number:
        return []
    places = np.array(points, float)
    taken = np.array(first).reshape(len(first), places.shape[1])
    chosen: list[int] = []
    if not len(taken):
        chosen = [int(np.argmin(np.linalg.norm(places - places.mean(axis=0), axis=1)))]
        taken = places[chosen]
    gap = np.linalg.norm(places[:, None] - taken[None], axis=2).min(axis=1)
    while len(chosen) < number:
        gap[chosen] = -1
        best = int(np.argmax(np.round(gap, 9)))
        chosen.append(best)
        gap = np.minimum(gap, np.linalg.norm(places - places[best], axis=1))
    return chosen


def cost_exponents(nets: Sequence[Candidate], ratios: Floats) -> Floats:
    """Exponents [3] of cost in depth, width and resolution, by least squares over `nets`."""
    x = np.array([net.x for net in nets])
    # at least a little: a share of the cost is divided by what it grows with
    found: Floats = np.maximum(np.linalg.lstsq(x, np.log(ratios), rcond=None)[0], 0.05)
    return found
