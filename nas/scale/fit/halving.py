"""Short trainings of many networks, longer ones of the better half."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nas.scale.fit.budget import Rung
from nas.scale.fit.design import FitDesign
from nas.scale.fit.grid import Candidate
from nas.scale.fit.journal import TrainingRecord, Trainings
from nas.stats.correlation import Interval, interval, kendall
from nas.stats.rewards import MNAS_EXPONENT

MIN_COMPARED = 4  # networks, for the agreement of two orders to have any meaning


def loss(record: TrainingRecord, ratio: float, objective: str) -> float:
    """What a fit minimises, as a logarithm, so that differences are relative.

    Cross-entropy, which tells networks apart that have the same accuracy; for "lacs" minus the
    logarithm of MnasNet's product of accuracy and cost.
    """
    if objective != "lacs":
        return math.log(max(record.cross_entropy, 1e-9))
    return -math.log(max(record.accuracy, 1e-6)) - MNAS_EXPONENT * math.log(ratio)


def first_seed(seed: int, rungs: Sequence[Rung], rung: int) -> int:
    """The first seed of a rung; no two rungs, and no two fits, share a seed."""
    return 1000 * seed + sum(number for _, number in rungs[:rung])


def num_epochs(points: int, rungs: Sequence[Rung]) -> int:
    """Epochs that `successive_halving` trains in all."""
    return sum(-(-points // 2**i) * epochs * seeds for i, (epochs, seeds) in enumerate(rungs))


def successive_halving(design: FitDesign, trainings: Trainings) -> list[TrainingRecord]:
    """Successive halving (Jamieson and Talwalkar 2016): every rung keeps the better half.

    Within a rung all networks are trained with the same seeds, so that they differ by what they
    are; a network that failed goes no further.
    """
    records: list[TrainingRecord] = []
    alive, rungs = list(design.points), design.budget.halving()
    for i, (epochs, number) in enumerate(rungs):
        start = first_seed(design.seed, rungs, i)
        jobs = [(net.arch, epochs, s) for net in alive for s in range(start, start + number)]
        unit = "epoch" if epochs == 1 else "epochs"
        new = trainings(jobs, f"{len(alive)} networks x {epochs} {unit}")
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
        value = loss(record, nets[record.id].ratio, objective)
        losses.setdefault(record.id, []).append(value)
    return {key: float(np.mean(values)) for key, values in losses.items()}


def rank_agreement(
    short: Mapping[str, float], long: Mapping[str, float], seed: int
) -> tuple[int, Interval] | None:
    """Kendall's tau of the two orders and over how many networks; None for too few."""
    both = sorted(set(short) & set(long))
    if len(both) < MIN_COMPARED:
        return None
    return len(both), interval(kendall, [short[k] for k in both], [long[k] for k in both], seed)
