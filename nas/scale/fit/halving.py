"""Short trainings of many networks, longer ones of the better half."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nas.scale.fit.design import FitDesign
from nas.scale.fit.grid import Candidate
from nas.scale.fit.journal import TrainingRecord, Trainings
from nas.stats.rewards import MNAS_EXPONENT

Rungs = Sequence[Sequence[int]]  # epochs of each, and seeds that it trains every network with


def loss(record: TrainingRecord, ratio: float, objective: str) -> float:
    """What a fit minimises: the logarithm of the cross-entropy, so that differences are relative.

    For "lacs" minus the logarithm of MnasNet's product of accuracy and cost.
    """
    if objective != "lacs":
        return math.log(max(record.cross_entropy, 1e-9))
    return -math.log(max(record.accuracy, 1e-6)) - MNAS_EXPONENT * math.log(ratio)


def first_seed(seed: int, rungs: Rungs, rung: int) -> int:
    """The first seed of a rung; no two rungs, and no two fits, share a seed."""
    return 1000 * seed + sum(number for _, number in rungs[:rung])


def num_epochs(points: int, rungs: Rungs) -> int:
    """Epochs that `successive_halving` trains in all."""
    return sum(-(-points // 2**i) * epochs * seeds for i, (epochs, seeds) in enumerate(rungs))


def successive_halving(design: FitDesign, trainings: Trainings) -> list[TrainingRecord]:
    """Successive halving (Jamieson and Talwalkar 2016): every rung keeps the better half.

    All networks of a rung share its seeds; one that failed goes no further.
    """
    records: list[TrainingRecord] = []
    alive, rungs = list(design.points), design.budget.rungs
    for i, (epochs, number) in enumerate(rungs):
        start = first_seed(design.seed, rungs, i)
        jobs = [(net.arch, epochs, s) for net in alive for s in range(start, start + number)]
        new = trainings(jobs, f"{len(alive)} networks x {epochs} epoch{'s' * (epochs > 1)}")
        records += new
        losses = mean_losses(new, {net.id: net for net in alive}, design.objective)
        alive = sorted((n for n in alive if n.id in losses), key=lambda net: losses[net.id])
        alive = alive[: -(-len(design.points) // 2 ** (i + 1))]
    return records


def mean_losses(
    records: Sequence[TrainingRecord], nets: Mapping[str, Candidate], objective: str
) -> dict[str, float]:
    """Mean loss of each network over its records."""
    losses: dict[str, list[float]] = {}
    for record in records:
        known = losses.setdefault(record.id, [])
        known.append(loss(record, nets[record.id].ratio, objective))
    return {key: float(np.mean(values)) for key, values in losses.items()}
