"""Networks that cost what is asked for: the candidates of a fit, and their rivals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace

import numpy as np

from nas.arch.cost import cost
from nas.arch.scaling import EFFICIENTNET, RULES, Factors, formula
from nas.scale.fit.grid import DOUBLE, Candidate, Scaler, Triple
from nas.scale.fit.journal import CostRatios
from nas.scale.fit.response_surface import Data, Floats, Surface, fit_surface

# MnasNet's product weighs cost itself: candidates cost from 1 / sqrt(2) to sqrt(2) of the target.
LACS_BAND = math.sqrt(2)
MAX_TOLERANCE = 0.5  # of a ratio of 2: a "double" cost beyond 1.5 to 2.5 would be none
# Growth is the mean over so many steps of phi: over one, rounding hides a width of 1.1 of 8.
GROWTH_STEPS = 3
NOMINAL_PHIS = np.arange(0.04, 3.5, 0.04)  # at which a rule is tried, up or down


class CostModel:
    """Cost ratios of networks, if costs are slow by a surface fitted to `num_asked` of `nets`."""

    def __init__(
        self, costs: CostRatios, nets: Sequence[Candidate], num_asked: int, target: float
    ) -> None:
        self.costs, self.num_asked, self.target = costs, num_asked, target
        self.surface: Surface | None = self._fit(nets) if costs.slow else None

    def _fit(self, nets: Sequence[Candidate]) -> Surface:
        """From networks at a quarter of the way to the target to GROWTH_STEPS times as far."""
        baseline, way = self.costs.baseline, math.log(self.target)
        unit = cost(baseline).macs
        near = [n for n in nets if 0.25 < math.log(cost(n.arch).macs / unit) / way < GROWTH_STEPS]
        asked = [near[i] for i in kennard_stone([net.x for net in near], self.num_asked)]
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
        growths = iter((ratios[len(nets) :] ** (1 / GROWTH_STEPS)).tolist())
        return [
            replace(net, ratio=ratio, growth=next(growths) if net.at_three_phi else math.nan)
            for net, ratio in zip(nets, ratios[: len(nets)].tolist(), strict=True)
        ]


def near_target(
    grid: Sequence[Candidate], estimates: Floats, scaler: Scaler, costs: CostModel, phi: int
) -> list[Candidate]:
    """Those of `grid` whose cost ratio, by `estimates` [n], may be the target.

    They get ratio and growth, as `costs` estimates them.  A triple that makes the baseline too
    small on the way is left out.
    """
    is_near = np.abs(np.log(estimates / costs.target)) < math.log(DOUBLE)
    ratios = zip(grid, estimates.tolist(), is_near, strict=True)
    near = [replace(net, ratio=ratio) for net, ratio, close in ratios if close]
    far = GROWTH_STEPS * phi
    tried = [(net, scaler.try_scale(formula(*net.triple, far), net.triple)) for net in near]
    grown = [(net, further) for net, further in tried if further]
    growths = costs.estimate([further for _, further in grown]) ** (1 / GROWTH_STEPS)
    return [
        replace(net, growth=growth, at_three_phi=further.arch)
        for (net, further), growth in zip(grown, growths.tolist(), strict=True)
    ]


def select_candidates(
    nets: Sequence[Candidate], costs: CostModel, *, tolerance: float, min_number: int, soft: bool
) -> tuple[list[Candidate], float]:
    """Those of `nets` that truly cost the target, in the mean over further phi too.

    Returned with the tolerance that this took.  Small baselines round coarsely: the `tolerance`, of
    a ratio of 2 and in proportion of another, is widened until `min_number` networks are within, at
    most to MAX_TOLERANCE.  With `soft` all in LACS_BAND are.  Where costs are slow, only the most
    promising are measured.
    """

    def distance(net: Candidate) -> float:
        return max(abs(math.log(value / costs.target)) for value in (net.ratio, net.growth))

    def deviation(net: Candidate) -> float:
        return max(relative_deviation(value, costs.target) for value in (net.ratio, net.growth))

    band, known = math.log(LACS_BAND), sorted(nets, key=distance)
    if costs.surface is not None:
        if soft:  # all over the band, not only its middle
            inside = [net for net in known if distance(net) < band]
            known = [inside[i] for i in kennard_stone([net.x for net in inside], costs.num_asked)]
        known = costs.measure(known[: costs.num_asked])
    if soft:
        selected = [net for net in known if distance(net) < band]
    else:
        wider = [w for w in np.arange(0.15, MAX_TOLERANCE + 0.01, 0.05).tolist() if w > tolerance]
        for width in (tolerance, *wider):
            tolerance, selected = width, [net for net in known if deviation(net) < width]
            if len(selected) >= min_number:
                break
    return sorted(selected, key=lambda net: net.triple), tolerance


def relative_deviation(ratio: float, target: float) -> float:
    """How far a cost ratio is off, in proportion to a target of 2."""
    return round(abs(ratio / target - 1) * DOUBLE, 9)


def rules(triple: Triple | None = None) -> dict[str, Callable[[float], Factors]]:
    """Ways to spend a multiple of the cost, by name; a fitted `triple` first."""

    def powers(triple: Triple) -> Callable[[float], Factors]:
        return lambda multiple: formula(*triple, math.log2(multiple))

    fitted = {"fitted": powers(triple)} if triple else {}
    return {**fitted, "efficientnet": powers(EFFICIENTNET), **RULES}


def rivals(
    scaler: Scaler, costs: CostModel, ways: dict[str, Callable[[float], Factors]], target: float
) -> dict[str, Candidate]:
    """For each way of scaling its rounded network whose true cost is nearest to `target` times.

    A way that cannot change the baseline, as depth alone cannot shrink stages of one block, is left
    out.  The triple is what it gives for a nominal doubling.
    """
    chosen = {}
    multiples = np.exp2(NOMINAL_PHIS if target > 1 else -NOMINAL_PHIS)
    num_measured = 1 if costs.surface is None else 3
    for name, way in ways.items():
        triple = astuple(way(DOUBLE))
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

    They begin after those taken `first`, or with the one nearest to the middle.
    """
    number = min(number, len(points))
    if not number:
        return []
    places = np.array(points, float)
    middle = int(np.argmin(np.linalg.norm(places - places.mean(axis=0), axis=1)))
    chosen = [] if len(first) else [middle]
    taken = np.array(first) if len(first) else places[chosen]
    gap = np.linalg.norm(places[:, None] - taken[None], axis=2).min(axis=1)
    while len(chosen) < number:
        gap[chosen] = -1
        best = int(np.argmax(np.round(gap, 9)))
        chosen.append(best)
        gap = np.minimum(gap, np.linalg.norm(places - places[best], axis=1))
    return chosen
