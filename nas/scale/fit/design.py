"""What a fit will look at, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nas.arch.arch import Arch
from nas.arch.scaling import Factors
from nas.core.errors import UserError
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.grid import (
    DOUBLE,
    LATER_PHI,
    Candidate,
    Ratios,
    Scale,
    candidates,
    cost_exponents,
    kennard_stone,
    near_target,
    network,
    networks,
    rivals,
    rules,
    steps,
    triples,
)
from nas.scale.fit.journal import CostRatios
from nas.scale.fit.response_surface import Floats

AXES = ("depth", "width", "resolution")


@dataclass(frozen=True)
class FitDesign:
    """Candidates, rivals and the design of the first trainings.

    phi         at which the fit is made: 1 for twice the cost, -1 for half of it
    tolerance   of the cost ratio, as far as it had to be widened
    design      networks of the first rung: baseline, rivals, single axes half way, which give
                the surface its curvature along phi, and candidates spread out
    exponents   [3] of cost in depth, width and resolution
    words       what was counted
    """

    baseline: Candidate
    phi: int
    scale: Scale
    ratios: Ratios
    candidates: list[Candidate]
    rivals: dict[str, Candidate]
    design: list[Candidate]
    tolerance: float
    exponents: Floats
    words: str

    def by_id(self) -> Mapping[str, Candidate]:
        """Every network that may be trained at the fit's phi."""
        return {n.id: n for n in (*self.design, *self.candidates)}


def design_fit(
    baseline: Arch, scale: Scale, costs: CostRatios, budget: FitBudget, objective: str
) -> FitDesign:
    """Lay out the grid, ask what its networks cost, and choose those to begin with."""
    values = steps(budget.step, budget.low, budget.high)
    grid = [net for net in networks(baseline, scale, values, budget.phi) if net.x.any()]
    if not grid:
        raise UserError("nothing on the grid changes the baseline; raise fit.high")
    target = DOUBLE**budget.phi
    ratios = Ratios(baseline, costs, grid, budget.costed // 2, target)
    soft = objective == "lacs"
    about = ratios.estimate(grid)
    chosen, tolerance = candidates(
        near_target(grid, about, baseline, scale, ratios, budget.phi),
        ratios, budget.tolerance, budget.points // 2, budget.costed // 2, soft,
    )  # fmt: skip
    if not chosen:
        span = f"{about.min():.2f} to {about.max():.2f}"
        raise UserError(
            f"no network on the grid costs about {target:g} times the baseline, and by phi in the "
            f"mean up to {LATER_PHI * budget.phi} (they cost {span} times it); raise fit.high, "
            "lower fit.step or raise fit.tolerance"
        )
    against = rivals(baseline, scale, ratios, rules(), target)
    start = replace(network(baseline, scale, Factors(), (1.0, 1.0, 1.0)), ratio=1.0)
    exponents = cost_exponents(grid, about)
    axes = {name: way for name, way in rules().items() if name in AXES}
    half = rivals(baseline, scale, ratios, axes, math.sqrt(target))
    anchors = list({n.id: n for n in (start, *against.values(), *half.values())}.values())
    taken = {net.id for net in anchors}
    free = [net for net in chosen if net.id not in taken]
    picked = kennard_stone(
        [n.x * exponents for n in free],
        max(0, budget.points - len(anchors)),
        [n.x * exponents for n in anchors],
    )
    formula = len(triples(budget.step, budget.tolerance, budget.low, budget.high))
    slack = tolerance * target / DOUBLE
    band = f"about {target:g}" if soft else f"{target:g} ± {slack:.2g}"
    return FitDesign(
        start, budget.phi, scale, ratios, chosen, against, [*anchors, *(free[i] for i in picked)],
        tolerance, exponents,
        f"{formula} triples by the formula; of {len(grid)} networks that the grid rounds to, "
        f"{len(chosen)} have {band} times the cost, and by phi in the mean up to "
        f"{LATER_PHI * budget.phi}",
    )  # fmt: skip


def describe(net: Candidate, phi: int, exponents: Floats) -> dict[str, object]:
    """A network for the report: triple, effective factors, shares of log cost, cost ratio."""
    depth, width, resolution = np.exp(net.x)
    parts = np.maximum(phi * net.x, 0) * exponents
    return {
        "id": net.id, "triple": net.triple, "depth": depth, "width": width,
        "resolution": resolution, "shares": parts / max(parts.sum(), 1e-12), "ratio": net.ratio,
    }  # fmt: skip
