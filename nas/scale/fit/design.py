"""What a fit will look at, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.core.errors import UserError
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.candidates import (
    GROWTH_STEPS,
    CostModel,
    kennard_stone,
    near_target,
    rivals,
    rules,
    select_candidates,
)
from nas.scale.fit.grid import DOUBLE, Candidate, Scaler, distinct_networks, grid_values, triples
from nas.scale.fit.journal import CostRatios
from nas.scale.fit.response_surface import Floats

AXES = ("depth", "width", "resolution")


@dataclass(frozen=True)
class FitDesign:
    """What is asked of a fit; its candidates, rivals and the networks that are trained first.

    points      networks of the first rung: baseline, rivals, single axes half way, which give
                the surface its curvature along phi, and candidates spread out
    tolerance   of the cost ratio, as far as it had to be widened
    exponents   [3] of cost in depth, width and resolution
    """

    budget: FitBudget
    objective: str
    seed: int
    baseline: Candidate
    scaler: Scaler
    costs: CostModel
    candidates: list[Candidate]
    rivals: dict[str, Candidate]
    points: list[Candidate]
    tolerance: float
    exponents: Floats
    words: str

    @property
    def phi(self) -> int:
        """1 for twice the cost, -1 for half of it."""
        return self.budget.phi

    def by_id(self) -> Mapping[str, Candidate]:
        """Every network that may be trained at the fit's phi."""
        return {net.id: net for net in (*self.points, *self.candidates)}

    def describe(self, net: Candidate) -> dict[str, object]:
        """A network for the report: triple, effective factors, shares of log cost, cost ratio."""
        factors = dict(zip(AXES, np.exp(net.x), strict=True))
        parts = np.maximum(self.phi * net.x, 0) * self.exponents
        shares = parts / max(parts.sum(), 1e-12)
        return {"id": net.id, "triple": net.triple, **factors, "shares": shares, "ratio": net.ratio}


def design_fit(
    scaler: Scaler, ratios: CostRatios, budget: FitBudget, objective: str, seed: int = 0
) -> FitDesign:
    """Lay out the grid, ask what its networks cost, and choose those to begin with."""
    phi, target, soft = budget.phi, DOUBLE**budget.phi, objective == "lacs"
    values = grid_values(budget.step, budget.low, budget.high)
    grid = [net for net in distinct_networks(scaler, values, phi) if net.x.any()]
    if not grid:
        raise UserError("nothing on the grid changes the baseline; raise fit.high")
    costs = CostModel(ratios, grid, budget.costed // 2, target)
    estimates = costs.estimate(grid)
    near = near_target(grid, estimates, scaler, costs, phi)
    chosen, tolerance = select_candidates(
        near, costs, tolerance=budget.tolerance, min_number=budget.points // 2, soft=soft
    )
    if not chosen:
        raise _no_candidates(phi, estimates)
    start = scaler.unscaled()
    against = rivals(scaler, costs, rules(), target)
    axes = {name: way for name, way in rules().items() if name in AXES}
    half_way = rivals(scaler, costs, axes, math.sqrt(target))
    anchors = {net.id: net for net in (start, *against.values(), *half_way.values())}
    slopes = np.linalg.lstsq(np.array([net.x for net in grid]), np.log(estimates), rcond=None)[0]
    exponents = np.maximum(slopes, 0.05)  # more than 0, since a share of the cost is divided by it
    num_triples = len(triples(budget.step, budget.tolerance, budget.low, budget.high))
    band = f"about {target:g}" if soft else f"{target:g} ± {tolerance * target / DOUBLE:.2g}"
    return FitDesign(
        budget=budget,
        objective=objective,
        seed=seed,
        baseline=start,
        scaler=scaler,
        costs=costs,
        candidates=chosen,
        rivals=against,
        points=_spread_out(list(anchors.values()), chosen, budget.points, exponents),
        tolerance=tolerance,
        exponents=exponents,
        words=f"{num_triples} triples by the formula; of {len(grid)} networks that the grid rounds "
        f"to, {len(chosen)} have {band} times the cost, and by phi in the mean up to "
        f"{GROWTH_STEPS * phi}",
    )


def _no_candidates(phi: int, estimates: Floats) -> UserError:
    return UserError(
        f"no network on the grid costs about {DOUBLE**phi:g} times the baseline, and by phi in the "
        f"mean up to {GROWTH_STEPS * phi} (they cost {estimates.min():.2f} to "
        f"{estimates.max():.2f} times it); raise fit.high, lower fit.step or raise fit.tolerance"
    )


def _spread_out(
    anchors: Sequence[Candidate], chosen: Sequence[Candidate], number: int, exponents: Floats
) -> list[Candidate]:
    """The anchors and the `chosen` farthest from them, up to a `number` in all."""
    taken = {net.id for net in anchors}
    free = [net for net in chosen if net.id not in taken]
    places, first = ([net.x * exponents for net in nets] for nets in (free, anchors))
    picked = kennard_stone(places, max(0, number - len(anchors)), first)
    return [*anchors, *(free[i] for i in picked)]
