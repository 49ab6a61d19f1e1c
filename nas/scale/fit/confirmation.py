"""The longer trainings: the fitted network against those of the other rules, at equal cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.scale.fit.budget import FitBudget
from nas.scale.fit.comparison import Comparison, Difference, percent, verdict
from nas.scale.fit.design import FitDesign
from nas.scale.fit.grid import DOUBLE, Candidate, relative_deviation, rivals, rules
from nas.scale.fit.halving import first_seed, loss, mean_losses
from nas.scale.fit.journal import TrainingRecord, Trainings
from nas.scale.fit.optimum import to_equal_cost
from nas.scale.fit.result import Plain


@dataclass(frozen=True)
class Confirmation:
    """What the longer trainings found: rows for the report, trainings, words."""

    table: list[Plain]
    rows: list[TrainingRecord]
    verdict: str


def fields(plan: FitDesign, best: Candidate, budget: FitBudget) -> dict[int, dict[str, Candidate]]:
    """By phi, the fitted network and its rivals at 2^phi times the cost."""
    found = {plan.phi: {"fitted": best, **plan.rivals}}
    phis = [plan.phi * times for times in sorted(budget.confirm_phis)]
    for phi in phis:
        if phi != plan.phi:
            found[phi] = rivals(
                plan.baseline.arch, plan.scale, plan.ratios, rules(best.triple), DOUBLE**phi
            )
    return {phi: found[phi] for phi in phis}


def confirm(
    plan: FitDesign,
    best: Candidate,
    budget: FitBudget,
    seed: int,
    objective: str,
    trained: Trainings,
) -> Confirmation:
    """Train them, the baseline too for the picture, all with the same new seeds.

    Where rounding leaves their costs apart, losses are compared as `to_equal_cost` moves them.
    """
    rungs = budget.halving()
    first = first_seed(seed, rungs, len(rungs))
    seeds = range(first, first + budget.confirm_seeds)
    by_phi = fields(plan, best, budget)
    nets = [plan.baseline, *(net for named in by_phi.values() for net in named.values())]
    unique = list({net.id: net for net in nets}.values())
    trained.total = trained.done + len(unique) * budget.confirm_epochs * budget.confirm_seeds
    rows = trained(
        [(net.arch, budget.confirm_epochs, s) for net in unique for s in seeds],
        f"the best and its rivals x {budget.confirm_epochs} epochs",
    )
    table = [_facts("baseline", 0, plan.baseline, rows, plan.tolerance)]
    words = []
    for phi, named in by_phi.items():
        own = [row for row in rows if row.id in {n.id for n in (plan.baseline, *named.values())}]
        moves = _moves(plan, named, own, objective, DOUBLE**phi)
        new, said = _compared(phi, named, moves, rows, objective, plan.tolerance)
        table += new
        words.append(said if phi == plan.phi else f"at phi = {phi}: {said}")
        words += _too_short(phi, new, table[0])
    return Confirmation(table, rows, "; ".join(words))


def _too_short(phi: int, rows: Sequence[Plain], baseline: Plain) -> list[str]:
    """A warning where networks that cost more are no better, or cheaper ones no worse."""
    known = [row for row in rows if row["num_seeds"] and not row["same_as"]]
    if not baseline["num_seeds"]:
        return []
    way, word = (1, "better") if phi > 0 else (-1, "worse")
    odd = [r for r in known if way * (r["cross_entropy"] - baseline["cross_entropy"]) >= 0]
    if not odd:
        return []
    return [
        f"{len(odd)} of {len(known)} networks of {DOUBLE**phi:g} times the cost are no {word} "
        "than the baseline: these trainings are too short for what they are asked"
    ]


def _moves(
    plan: FitDesign,
    named: Mapping[str, Candidate],
    rows: Sequence[TrainingRecord],
    objective: str,
    target: float,
) -> dict[str, float]:
    """What equal cost adds to the losses; nothing where cost is weighed, or no baseline known."""
    means = mean_losses(rows, {n.id: n for n in (plan.baseline, *named.values())}, objective)
    able = {name: net for name, net in named.items() if net.id in means}
    if objective == "lacs" or plan.baseline.id not in means or not able:
        return dict.fromkeys(named, 0.0)
    drops = np.array([means[net.id] - means[plan.baseline.id] for net in able.values()])
    added = to_equal_cost(drops, np.array([net.ratio for net in able.values()]), target)
    return dict.fromkeys(named, 0.0) | dict(zip(able, added.tolist(), strict=True))


def _compared(
    phi: int, named: Mapping[str, Candidate], moves: Mapping[str, float],
    rows: Sequence[TrainingRecord],
    objective: str, tolerance: float,
) -> tuple[list[Plain], str]:  # fmt: skip
    firsts: dict[str, str] = {}
    for name, net in named.items():
        firsts.setdefault(net.id, name)
    same = {n: firsts[net.id] for n, net in named.items() if firsts[net.id] != n}
    comparison = Comparison(
        {
            name: {
                r.seed: loss(r, net.ratio, objective) + moves[name] for r in rows if r.id == net.id
            }
            for name, net in named.items()
            if name not in same
        }
    )
    table = []
    for name, net in named.items():
        row = _facts(name, phi, net, rows, tolerance)
        row |= {"same_as": same.get(name, ""), "moved": percent(moves[name])}
        over = _over(comparison, same.get(name, name))
        row |= {k: percent(getattr(over, k)) for k in ("value", "low", "high")} if over else {}
        table.append(row)
    return table, verdict(comparison, {n: net.ratio for n, net in named.items()}, same)


def _over(comparison: Comparison, name: str) -> Difference | None:
    if name == "fitted" or not {name, "fitted"} <= set(comparison.names):
        return None
    return comparison.over(name, "fitted", len(comparison.names) - 1)


def _facts(
    name: str, phi: int, net: Candidate, rows: Sequence[TrainingRecord], tolerance: float
) -> Plain:
    """A network's scores over its seeds; errors are of the mean, over the seeds."""
    own = [row for row in rows if row.id == net.id]
    facts: Plain = {"name": name, "phi": phi, "id": net.id, "triple": net.triple}
    within = relative_deviation(net.ratio, DOUBLE**phi) < tolerance
    facts |= {"ratio": net.ratio, "within": within, "num_seeds": len(own)}
    for score in ("accuracy", "cross_entropy"):
        values = np.array([getattr(row, score) for row in own])
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        facts |= {score: values.mean() if len(values) else math.nan, f"{score}_se": error}
    return facts
