"""The longer trainings: the fitted network against those of the other rules, at equal cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.scale.fit.candidates import relative_deviation, rivals, rules
from nas.scale.fit.comparison import Comparison, percent, percents, verdict
from nas.scale.fit.design import FitDesign
from nas.scale.fit.grid import DOUBLE, Candidate
from nas.scale.fit.halving import first_seed, loss, mean_losses
from nas.scale.fit.journal import TrainingRecord, Trainings
from nas.scale.fit.optimum import to_equal_cost
from nas.scale.fit.result import Plain

Records = Sequence[TrainingRecord]
ByName = Mapping[str, Candidate]  # "fitted" and its rivals


@dataclass(frozen=True)
class Confirmation:
    """What the longer trainings found; the `table` is for the report."""

    table: list[Plain]
    records: list[TrainingRecord]
    verdict: str


def confirm(design: FitDesign, best: Candidate, trainings: Trainings) -> Confirmation:
    """Train `best`, its rivals and the baseline with the same new seeds, and compare their losses.

    Where rounding leaves costs apart, losses are moved by `to_equal_cost`.
    """
    by_phi = _networks_by_phi(design, best)
    records = _train_longer(design, by_phi, trainings)
    table = [_describe_scores("baseline", 0, design.baseline, records, design.tolerance)]
    words = []
    for phi, networks in by_phi.items():
        added = _added_for_equal_cost(design, networks, records, DOUBLE**phi)
        losses = {
            name: {
                record.seed: loss(record, net.ratio, design.objective) + added[name]
                for record in records
                if record.id == net.id
            }
            for name, net in networks.items()
        }
        rows, twins = [], _twins(networks)
        comparison = Comparison({k: v for k, v in losses.items() if k not in twins})
        for name, net in networks.items():
            row = _describe_scores(name, phi, net, records, design.tolerance)
            row |= {"same_as": twins.get(name, ""), "moved": percent(added[name])}
            rows.append(row | _over_fitted(comparison, twins.get(name, name)))
        table += rows
        conclusion = verdict(comparison, {k: net.ratio for k, net in networks.items()}, twins)
        words.append(conclusion if phi == design.phi else f"at phi = {phi}: {conclusion}")
        words += _warn_too_short(phi, rows, table[0])
    return Confirmation(table, records, "; ".join(words))


def _networks_by_phi(design: FitDesign, best: Candidate) -> dict[int, ByName]:
    by_phi: dict[int, ByName] = {}
    for times in sorted(design.budget.confirm_phis):
        phi = design.phi * times
        if times == 1:
            by_phi[phi] = {"fitted": best, **design.rivals}
        else:
            by_phi[phi] = rivals(design.scaler, design.costs, rules(best.triple), DOUBLE**phi)
    return by_phi


def _train_longer(
    design: FitDesign, by_phi: Mapping[int, ByName], trainings: Trainings
) -> list[TrainingRecord]:
    budget, epochs = design.budget, design.budget.confirm_epochs
    first = first_seed(design.seed, budget.rungs, len(budget.rungs))
    seeds = range(first, first + budget.confirm_seeds)
    nets = [design.baseline, *(net for networks in by_phi.values() for net in networks.values())]
    unique = {net.id: net.arch for net in nets}
    jobs = [(arch, epochs, s) for arch in unique.values() for s in seeds]
    trainings.total = trainings.done + epochs * len(jobs)
    return trainings(jobs, f"the best and its rivals x {epochs} epochs")


def _twins(networks: ByName) -> dict[str, str]:
    """Names of networks that round to an earlier one, and that one's name."""
    firsts: dict[str, str] = {}
    for name, net in networks.items():
        firsts.setdefault(net.id, name)
    return {name: firsts[net.id] for name, net in networks.items() if firsts[net.id] != name}


def _warn_too_short(phi: int, rows: Sequence[Plain], baseline: Plain) -> list[str]:
    """A warning where networks that cost more are no better, or cheaper ones no worse."""
    known = [row for row in rows if row["num_seeds"] and not row["same_as"]]
    way, word = (1, "better") if phi > 0 else (-1, "worse")
    odd = [r for r in known if way * (r["cross_entropy"] - baseline["cross_entropy"]) >= 0]
    text = (
        f"{len(odd)} of {len(known)} networks of {DOUBLE**phi:g} times the cost are no {word} "
        "than the baseline: these trainings are too short for what they are asked"
    )
    return [text] if odd else []


def _added_for_equal_cost(
    design: FitDesign, networks: ByName, records: Records, target: float
) -> dict[str, float]:
    """What equal cost adds to the losses; nothing where cost is weighed, or no baseline known."""
    base, nothing = design.baseline, dict.fromkeys(networks, 0.0)
    nets = {net.id: net for net in (base, *networks.values())}
    means = mean_losses([r for r in records if r.id in nets], nets, design.objective)
    known = {name: net for name, net in networks.items() if net.id in means}
    if design.objective == "lacs" or base.id not in means or not known:
        return nothing
    drops = np.array([means[net.id] - means[base.id] for net in known.values()])
    added = to_equal_cost(drops, np.array([net.ratio for net in known.values()]), target)
    return nothing | dict(zip(known, added.tolist(), strict=True))


def _over_fitted(comparison: Comparison, name: str) -> Plain:
    """By how many per cent a network's loss is over the fitted one's, where both are known."""
    if name == "fitted" or not {name, "fitted"} <= set(comparison.names):
        return {}
    return percents(comparison.over(name, "fitted", len(comparison.names) - 1))


def _describe_scores(
    name: str, phi: int, net: Candidate, records: Records, tolerance: float
) -> Plain:
    """A network's mean scores, with their standard errors over the seeds."""
    own = [record for record in records if record.id == net.id]
    row: Plain = {"name": name, "phi": phi, "id": net.id, "triple": net.triple, "ratio": net.ratio}
    row["within"] = relative_deviation(net.ratio, DOUBLE**phi) < tolerance
    row["num_seeds"] = len(own)
    for score in ("accuracy", "cross_entropy"):
        values = np.array([getattr(record, score) for record in own])
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        row |= {score: values.mean() if len(values) else math.nan, f"{score}_se": error}
    return row
