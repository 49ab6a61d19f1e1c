"""The best triple by the fitted surface, and how far resampled data leave it where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.scale.fit.grid import Candidate
from nas.scale.fit.halving import loss
from nas.scale.fit.journal import TrainingRecord
from nas.scale.fit.response_surface import (
    Data,
    Floats,
    Ints,
    Surface,
    fit_surface,
    quadratic,
    resampled,
)
from nas.stats.rewards import MNAS_EXPONENT

LEVELS = (0.025, 0.975)  # of 95 % intervals


@dataclass(frozen=True)
class Optimum:
    """The candidate of least predicted loss.

    best       its index;  values: predicted losses [n] of all candidates, at equal cost
    chosen     [n] part of the resampled surfaces that each candidate is the best of
    intervals  of alpha, beta, gamma over the resampled surfaces
    regret     by rival: the loss (value, low, high) of taking it and not the best
    """

    surface: Surface
    best: int
    values: Floats
    chosen: Floats
    intervals: dict[str, list[float]]
    regret: dict[str, tuple[float, float, float]]


def evidence(
    rows: Sequence[TrainingRecord], nets: Mapping[str, Candidate], objective: str
) -> tuple[Data, Ints]:
    """What the surface is fitted to, and the seed of every row.

    Its value is that of `halving.loss` without the cost, which is known and need not be learnt.
    """
    _, groups = np.unique([row.id for row in rows], return_inverse=True)
    lengths = {key: i for i, key in enumerate(sorted({(row.epochs, row.seed) for row in rows}))}
    data = Data(
        x=np.array([nets[row.id].x for row in rows]),
        y=np.array([loss(row, 1.0, objective) for row in rows]),
        groups=groups,
        blocks=np.array([lengths[row.epochs, row.seed] for row in rows]),
    )
    return data, np.array([row.seed for row in rows])


def to_equal_cost(drops: Floats, ratios: Floats, target: float) -> Floats:
    """What to add to losses [..., n] so that networks of cost `ratios` [n] compare at `target`.

    Rounding leaves costs a little apart, and 2.1 times the cost should do better than 1.9 times.
    `drops` are losses less the baseline's; they are taken to follow one power law of the cost,
    whose exponent all networks give together: single ones would be too uncertain.  Where larger
    networks do worse, as after too little training, nothing is added.
    """
    logs = np.log(ratios)
    slope = np.minimum(drops.sum(axis=-1, keepdims=True) / logs.sum(), 0.0)
    added: Floats = slope * (math.log(target) - logs)
    return added


def _weighed(drops: Floats, ratios: Floats, objective: str, target: float) -> Floats:
    """Losses [..., n] by which networks compare: at equal cost, or with the cost weighed in."""
    if objective == "lacs":
        return drops - MNAS_EXPONENT * np.log(ratios)
    return drops + to_equal_cost(drops, ratios, target)


def optimum(
    data: Data, seeds: Ints, nets: Sequence[Candidate], rivals: Mapping[str, Candidate],
    objective: str, target: float, draws: int, rng: np.random.Generator,
) -> Optimum:  # fmt: skip
    """Fit the surface to `data`, find the best of `nets`, and resample both `draws` times."""
    surface = fit_surface(data)
    everyone = [*nets, *rivals.values()]
    terms = quadratic(np.array([net.x for net in everyone]))
    ratios = np.array([net.ratio for net in everyone])
    values = _weighed(terms @ surface.terms, ratios, objective, target)
    best = int(np.argmin(values[: len(nets)]))
    others = np.array(list(resampled(data, surface, seeds, draws, rng)))
    drawn = _weighed(others @ terms.T, ratios, objective, target)
    winners = np.argmin(drawn[:, : len(nets)], axis=1)
    triples = np.array([net.triple for net in nets])
    intervals = {}
    for i, name in enumerate(("alpha", "beta", "gamma")):
        ends = np.quantile(triples[winners, i], LEVELS, method="nearest")
        intervals[name] = [min(ends[0], triples[best, i]), max(ends[1], triples[best, i])]
    regret = {}
    for i, name in enumerate(rivals, len(nets)):
        low, high = np.quantile(drawn[:, i] - drawn[:, best], LEVELS)
        regret[name] = (float(values[i] - values[best]), float(low), float(high))
    return Optimum(
        surface=surface,
        best=best,
        values=values[: len(nets)] + surface.levels.mean(),
        chosen=np.bincount(winners, minlength=len(nets)) / draws,
        intervals=intervals,
        regret=regret,
    )
