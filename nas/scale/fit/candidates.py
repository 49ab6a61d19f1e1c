"""Networks that cost what is asked for: the candidates of a fit, and their rivals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from nas.arch.cost import cost
from nas.arch.scaling import EFFICIENTNET, RULES, Factors, formula
from nas.scale.fit.grid import DOUBLE, Candidate, Floats, Scaler, Triple
from nas.scale.fit.journal import CostRatios
from nas.scale.fit.response_surface import Data, Surface, fit_surface

# MnasNet's product weighs cost itself: candidates cost from 1 / sqrt(2) to sqrt(2) of the target.
LACS_BAND = math.sqrt(2)
MAX_TOLERANCE = 0.5  # of a ratio of 2: a "double" cost beyond 1.5 to 2.5 would be none
# Growth is the mean over so many steps of phi: over one, rounding hides a width of 1.1 of 8.
GROWTH_STEPS = 3
NOMINAL_PHIS = np.arange(0.04, 3.5, 0.04)  # at which a rule is tried, up or down


class CostModel:
    """Cost ratios of networks: the true ones, and estimates where the true ones take long.

    Where costs are slow, a surface is fitted to `num_asked` of `nets` to estimate the others by.
    """

    def __init__(
        self, costs: CostRatios, nets: Sequence[Candidate], num_asked: int, target: float
    ) -> None:
        self.costs, self.target = costs, target
        self.surface: Surface | None = self._fit(nets, num_asked) if costs.slow else None

    def _fit(self, nets: Sequence[Candidate], num_asked: int) -> Surface:
        """Cost, quadratic in the logarithms, from networks spread over those near the target.

        Near is from a quarter of the way to the target to GROWTH_STEPS times as far.
        """
        baseline, way = self.costs.baseline, math.log(self.target)
        unit = cost(baseline).macs
        near = [n for n in nets if 0.25 < math.log(cost(n.arch).macs / unit) / way < GROWTH_STEPS]
        asked = [near[i] for i in kennard_stone([net.x for net in near], num_asked)]
        x = np.array([np.zeros(3), *(net.x for net in asked)])
        ratios = self.costs([baseline, *(net.arch for net in asked)])
        return fit_surface(Data.of(x, np.log(ratios)))

    def estimate(self, nets: Sequence[Candidate]) -> Floats:
        """Cost ratios [n], true where the cost is arithmetic."""
        if self.surface is None:
            return self.costs([net.arch for net in nets])
        values: Floats = np.exp(self.surface(np.array([net.x for net in nets]).reshape(-1, 3)))
        return values

    def measure(self, nets: Sequence[Candidate]) -> list[Candidate]:
        """The networks with true cost ratios, and true growth where `at_three_phi` is known."""
        further = [net.at_three_phi for net in nets if net.at_three_phi]
        ratios = self.costs([*(net.arch for net in nets), *further])
        near, growths = ratios[: len(nets)], iter(ratios[len(nets) :] ** (1 / GROWTH_STEPS))
        return [
            replace(
                net, ratio=float(r), growth=float(next(growths)) if net.at_three_phi else math.nan
            )
            for net, r in zip(nets, near, strict=True)
        ]


def near_target(
    grid: Sequence[Candidate], estimates: Floats, scaler: Scaler, costs: CostModel, phi: int
) -> list[Candidate]:
    """Those of `grid` whose cost ratio, estimated as `estimates` [n], may be the target.

    They get ratio and growth, both true where the cost is arithmetic and estimates elsewhere.
    A triple that makes the baseline too small on the way is left out.
    """
    is_near = np.abs(np.log(estimates / costs.target)) < math.log(DOUBLE)
    near = [
        replace(net, ratio=float(ratio))
        for net, ratio, close in zip(grid, estimates, is_near, strict=True)
        if close
    ]
    far = GROWTH_STEPS * phi
    further = [scaler.try_scale(formula(*net.triple, far), net.triple) for net in near]
    growths = iter(costs.estimate([net for net in further if net]) ** (1 / GROWTH_STEPS))
    return [
        replace(net, growth=float(next(growths)), at_three_phi=grown.arch)
        for net, grown in zip(near, further, strict=True)
        if grown
    ]


def select_candidates(
    nets: Sequence[Candidate],
    costs: CostModel,
    *,
    tolerance: float,
    min_number: int,
    max_asked: int,
    soft: bool,
) -> tuple[list[Candidate], float]:
    """Those of `nets` that truly cost the target, in the mean over further phi too.

    Returned with the tolerance that this took.  Small baselines round coarsely, and few of their
    networks cost nearly twice as much, or half: the `tolerance`, of a ratio of 2 and in proportion
    of another, is widened by steps until `min_number` networks are within, at most to
    MAX_TOLERANCE.  With `soft` all in LACS_BAND are.  Where costs are slow, those of the
    `max_asked` most promising are measured.
    """

    def distance(net: Candidate) -> float:
        return max(abs(math.log(value / costs.target)) for value in (net.ratio, net.growth))

    band, known = math.log(LACS_BAND), sorted(nets, key=distance)
    if costs.surface is not None:
        if soft:  # all over the band, not only its middle
            inside = [net for net in known if distance(net) < band]
            known = [inside[i] for i in kennard_stone([net.x for net in inside], max_asked)]
        known = costs.measure(known[:max_asked])
    if soft:
        selected = [net for net in known if distance(net) < band]
    else:
        wider = np.arange(0.15, MAX_TOLERANCE + 0.01, 0.05)
        for width in [tolerance, *(float(w) for w in wider if w > tolerance)]:
            tolerance = width
            selected = [net for net in known if _is_within(net, costs.target, width)]
            if len(selected) >= min_number:
                break
    return sorted(selected, key=lambda net: net.triple), tolerance


def _is_within(net: Candidate, target: float, tolerance: float) -> bool:
    ratios = (net.ratio, net.growth)
    return max(relative_deviation(ratio, target) for ratio in ratios) < tolerance


def relative_deviation(ratio: float, target: float) -> float:
    """How far a cost ratio is off, in proportion to a target of 2."""
    return round(abs(ratio / target - 1) * DOUBLE, 9)


def rules(triple: Triple | None = None) -> dict[str, Callable[[float], Factors]]:
    """Ways to spend a multiple of the cost, by name; a fitted `triple` first, if there is one."""

    def powers(triple: Triple) -> Callable[[float], Factors]:
        return lambda multiple: formula(*triple, math.log2(multiple))

    fitted = {"fitted": powers(triple)} if triple else {}
    return {**fitted, "efficientnet": powers(EFFICIENTNET), **RULES}


def rivals(
    scaler: Scaler, costs: CostModel, ways: dict[str, Callable[[float], Factors]], target: float
) -> dict[str, Candidate]:
    """For each way of scaling its rounded network whose true cost is nearest to `target` times.

    A rule's own promise of the cost is not believed: it is asked for many multiples, and what its
    networks cost decides.  A rule that cannot change the baseline, as depth alone cannot shrink
    stages of one block, is left out.  The triple is what the rule gives for a nominal doubling.
    """
    chosen = {}
    multiples = np.exp2(NOMINAL_PHIS if target > 1 else -NOMINAL_PHIS)
    num_measured = 1 if costs.surface is None else 3
    for name, way in ways.items():
        double = way(DOUBLE)
        triple = (double.depth, double.width, double.resolution)
        made = (scaler.try_scale(way(float(m)), triple) for m in multiples)
        tried = list({net.arch: net for net in made if net and net.x.any()}.values())
        if not tried:
            continue
        order = np.argsort(np.abs(np.log(costs.estimate(tried) / target)), kind="stable")
        nearest = costs.measure([tried[i] for i in order[:num_measured]])
        chosen[name] = min(nearest, key=lambda net: abs(math.log(net.ratio / target)))
    return chosen


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
