"""The best triple by the fitted surface, and how certain that is, by resampling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.scale.fit.design import FitDesign
from nas.scale.fit.grid import DOUBLE, Candidate
from nas.scale.fit.halving import loss
from nas.scale.fit.journal import TrainingRecord
from nas.scale.fit.response_surface import Data, Floats, Surface, fit_surface, quadratic, resampled
from nas.stats.correlation import Interval
from nas.stats.rewards import MNAS_EXPONENT

LEVELS = (0.025, 0.975)  # of 95 % intervals


@dataclass(frozen=True)
class Optimum:
    """The candidate of least predicted loss.

    best       its index;  values: predicted losses [n] of all candidates, at equal cost
    chosen     [n] the part of the resampled surfaces on which each candidate is best
    intervals  of alpha, beta, gamma over the resampled surfaces
    regret     by rival: the loss of taking it and not the best
    """

    surface: Surface
    best: int
    values: Floats
    chosen: Floats
    intervals: dict[str, list[float]]
    regret: dict[str, Interval]


def _surface_data(
    records: Sequence[TrainingRecord], nets: Mapping[str, Candidate], objective: str
) -> Data:
    _, groups = np.unique([record.id for record in records], return_inverse=True)
    lengths = sorted({(record.epochs, record.seed) for record in records})
    return Data(
        x=np.array([nets[record.id].x for record in records]),
        y=np.array([loss(record, 1.0, objective) for record in records]),  # the cost is known
        groups=groups,
        blocks=np.array([lengths.index((record.epochs, record.seed)) for record in records]),
    )


def to_equal_cost(drops: Floats, ratios: Floats, target: float) -> Floats:
    """What to add to losses [..., n] so that networks of cost `ratios` [n] compare at `target`.

    `drops` [..., n] are losses less the baseline's.  Each is assumed to follow a power law of the
    cost that begins at the baseline; its exponent is its own, since ways of scaling differ in it.
    Nothing is added where the larger network does worse, as after too little training, or where
    rounding left it nearer to the baseline than to the target.
    """
    way = np.log(ratios) / math.log(target)  # 0 at the baseline, 1 at the target
    better = np.minimum(drops, 0.0) if target > 1 else np.maximum(drops, 0.0)
    added: Floats = better * (1 / np.where(way > 0.5, way, 1.0) - 1)
    return added


def _comparable(drops: Floats, ratios: Floats, objective: str, target: float) -> Floats:
    """Losses [..., n] at equal cost, or with the cost weighed in."""
    if objective == "lacs":
        return drops - MNAS_EXPONENT * np.log(ratios)
    return drops + to_equal_cost(drops, ratios, target)


def find_optimum(records: Sequence[TrainingRecord], design: FitDesign) -> Optimum:
    """Fit a surface, find its best candidate, and do both for resampled data too."""
    objective, num_draws = design.objective, design.budget.resamples
    data = _surface_data(records, design.by_id(), objective)
    surface, seeds = fit_surface(data), np.array([record.seed for record in records])
    nets, rivals, target = design.candidates, design.rivals, DOUBLE**design.phi
    everyone = [*nets, *rivals.values()]
    terms = quadratic(np.array([net.x for net in everyone]))
    ratios = np.array([net.ratio for net in everyone])
    values = _comparable(terms @ surface.terms, ratios, objective, target)
    best = int(np.argmin(values[: len(nets)]))
    rng = np.random.default_rng(design.seed)
    others = np.array(list(resampled(data, surface, seeds, num_draws, rng)))
    drawn = _comparable(others @ terms.T, ratios, objective, target)
    winners = np.argmin(drawn[:, : len(nets)], axis=1)
    triples = np.array([net.triple for net in nets])
    intervals = {}
    for i, name in enumerate(("alpha", "beta", "gamma")):
        ends = np.quantile(triples[winners, i], LEVELS, method="nearest")
        intervals[name] = [min(ends[0], triples[best, i]), max(ends[1], triples[best, i])]
    regret = {}
    for i, name in enumerate(rivals, len(nets)):
        low, high = np.quantile(drawn[:, i] - drawn[:, best], LEVELS)
        regret[name] = Interval(float(values[i] - values[best]), float(low), float(high))
    return Optimum(
        surface=surface,
        best=best,
        values=values[: len(nets)] + surface.levels.mean(),
        chosen=np.bincount(winners, minlength=len(nets)) / num_draws,
        intervals=intervals,
        regret=regret,
    )
