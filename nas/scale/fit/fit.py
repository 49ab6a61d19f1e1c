"""The fit of alpha, beta and gamma: which way of scaling a baseline is the best one.

    fit = fit_scaling(baseline, cost=..., judge=..., budget=FitBudget(), objective="macs", ...)
    fit.alpha, fit.beta, fit.gamma, fit.intervals, fit.verdict

EfficientNet (Tan and Le 2019, section 4) takes phi = 1, asks a small grid of triples for networks
of twice the cost, and keeps the best.  Here cost is what the rounded networks truly cost, few of
them are trained, a surface through all those trainings picks the triple, and longer trainings
against the other rules say what that is worth.  No torch here: costs and trainings are functions
that are handed in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from nas.arch.arch import Arch
from nas.arch.cost import cost as arithmetic
from nas.core.errors import UserError, unknown
from nas.core.files import write_text
from nas.core.journal import to_plain
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.comparison import percent
from nas.scale.fit.confirmation import Confirmation, confirm
from nas.scale.fit.design import FitDesign, describe, design_fit
from nas.scale.fit.grid import DOUBLE, scaler
from nas.scale.fit.halving import agreement, mean_losses, num_epochs, successive_halving
from nas.scale.fit.journal import (
    Cost,
    CostRatios,
    Elastic,
    FitJournal,
    Judge,
    Progress,
    TrainingRecord,
    Trainings,
)
from nas.scale.fit.optimum import Optimum, evidence, optimum
from nas.scale.fit.result import Fit, Plain

__all__ = ["OBJECTIVES", "Fit", "FitBudget", "fit_scaling"]

OBJECTIVES = ("macs", "latency", "lacs")
LEAST = 5  # networks without which there is no surface, however much it is shrunk


def fit_scaling(
    baseline: Arch,
    *,
    cost: Cost,
    judge: Judge,
    budget: FitBudget,
    objective: str,
    folder: Path,
    seed: int,
    say: Callable[[str], None],
    progress: Progress,
    elastic: Elastic | None = None,
    repeats: str = "ceil",
    fixed_ends: bool = False,
) -> Fit:
    """The triple by which `baseline` scales best, with intervals and a verdict.

    cost       of networks [n], in any unit: multiply-adds for objective "macs", else milliseconds
    judge      of (network, epochs, seed) [n]: yields (index, answer) as they come; an answer has
               `val` with accuracy, cross_entropy and their standard errors, or else a `reason`
    budget     how much to train; its phi=-1 asks how to shrink: for half the cost, not twice
    objective  "macs" and "latency" demand that cost; "lacs" weighs it by MnasNet's product
    folder     keeps trainings, failed ones too, and measured costs as they come (judged.jsonl): a
               killed fit goes on, and a second call trains nothing.  It belongs to one judge and
               one device: whoever changes data, training settings or device takes another one
    progress   is told (epochs done, epochs in all, what)
    elastic    makes a judge that scores all networks it is given by weights that they share; with
               it every candidate is scored that way in place of the short trainings
    repeats, fixed_ends   how depths are rounded and what is not scaled (`nas.arch.scaling.apply`)

    The same seed, costs and answers give the same fit.  Raises UserError for what cannot be asked.
    """
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    journal = FitJournal(folder / "judged.jsonl")
    costs = CostRatios(baseline, cost, journal, slow=objective != "macs")
    plan = design_fit(baseline, scaler(baseline, repeats, fixed_ends), costs, budget, objective)
    say(plan.words)
    trained = Trainings(judge, journal, progress)
    trained.total = _epochs(plan, budget, elastic is None)
    if elastic:
        short = _shared(plan, elastic, trained, seed)
    else:
        short = successive_halving(plan.design, budget.halving(), seed, objective, trained)
    fit = _fitted(plan, short, trained, budget, objective, seed, say)
    write_text(folder / "fit.json", json.dumps(fit.to_json(), indent=1) + "\n")
    return fit


def _fitted(
    plan: FitDesign, short: Sequence[TrainingRecord], trained: Trainings, budget: FitBudget,
    objective: str,
    seed: int, say: Callable[[str], None],
) -> Fit:  # fmt: skip
    """From what is known of many networks find the optimum, train it and its rivals longer."""
    _enough(short, trained)
    found = optimum(
        *evidence(short, plan.by_id(), objective), plan.candidates, plan.rivals, objective,
        DOUBLE**plan.phi, budget.resamples, np.random.default_rng(seed),
    )  # fmt: skip
    say(_so_far(found, short))
    long = None
    if budget.confirm_seeds:
        best = plan.candidates[found.best]
        long = confirm(plan, best, budget, seed, objective, trained)
    if failed := [row.reason for row in trained.seen if row.reason]:
        say(f"{len(failed)} of {len(trained.seen)} trainings failed: {failed[0]}")
    return _gathered(plan, found, short, long, trained, objective, seed)


def _so_far(found: Optimum, rows: Sequence[TrainingRecord]) -> str:
    return (
        f"surface through {len(rows)} scores of {len({row.id for row in rows})} networks: R² "
        f"{found.surface.r2:.2f}, {percent(found.surface.loo):.1f} % off where one is left out"
    )


def _shared(
    plan: FitDesign, elastic: Elastic, trained: Trainings, seed: int
) -> list[TrainingRecord]:
    """All that may be chosen, scored by weights that they share: trainings of no epoch."""
    archs = [net.arch for net in plan.by_id().values()]
    asked = Trainings(elastic(archs), trained.journal, lambda done, total, what: None)
    rows = asked([(arch, 0, seed) for arch in archs], "")
    trained.seen += asked.seen
    return rows


def _epochs(plan: FitDesign, budget: FitBudget, halving: bool) -> int:
    """Epochs to train in all, at most."""
    more = (len(plan.rivals) + 1) * len(budget.confirm_phis) + 1
    more *= budget.confirm_epochs * budget.confirm_seeds
    return more + (num_epochs(len(plan.design), budget.halving()) if halving else 0)


def _enough(rows: Sequence[TrainingRecord], trained: Trainings) -> None:
    if (number := len({row.id for row in rows})) < LEAST:
        reasons = Counter(row.reason for row in trained.seen if row.reason)
        why = reasons.most_common(1)[0][0] if reasons else "there were no more"
        raise UserError(
            f"only {number} networks could be trained (allowed: {LEAST} or more): {why}; mend "
            f"that and remove {trained.journal.path}"
        )


def _gathered(
    plan: FitDesign, found: Optimum, short: Sequence[TrainingRecord], long: Confirmation | None,
    trained: Trainings, objective: str, seed: int,
) -> Fit:  # fmt: skip
    best = plan.candidates[found.best]
    regret = {
        name: {k: percent(v) for k, v in zip(("value", "low", "high"), three, strict=True)}
        for name, three in found.regret.items()
    }
    judged = {row.id for row in short}
    listed = [
        {
            **describe(net, plan.phi, plan.exponents),
            "growth": net.growth,
            "predicted": value,
            "chosen": part,
            "judged": net.id in judged,
        }
        for net, value, part in zip(plan.candidates, found.values, found.chosen, strict=True)
    ]
    rest: Plain = to_plain(
        {
            "intervals": found.intervals,
            "tolerance": plan.tolerance,
            "baseline": _baseline(plan),
            "surface": _surface(found, objective),
            "candidates": listed,
            "rivals": {
                name: describe(net, plan.phi, plan.exponents) for name, net in plan.rivals.items()
            },
            "regret": regret,
            "confirmation": long.table if long else [],
            "agreement": _agreement(plan, short, long, objective, seed),
            "rows": [asdict(row) for row in trained.seen],
        }
    )
    alpha, beta, gamma = best.triple
    return Fit(
        alpha=alpha, beta=beta, gamma=gamma, phi=plan.phi, objective=objective,
        num_points=len(judged),
        verdict=long.verdict if long else _unconfirmed(regret),
        judge=", ".join(dict.fromkeys(row.fidelity for row in trained.seen if row.fidelity)),
        **rest,
    )  # fmt: skip


def _baseline(plan: FitDesign) -> Plain:
    arch = plan.baseline.arch
    macs = arithmetic(arch).macs
    return {"resolution": arch.resolution, "macs": macs, "exponents": plan.exponents}


def _surface(found: Optimum, objective: str) -> Plain:
    surface = found.surface
    loss = "accuracy and cost" if objective == "lacs" else "cross-entropy"
    names = ("terms", "r2", "loo", "ridge")
    values = {name: getattr(surface, name) for name in names}
    return {**values, "level": surface.levels.mean(), "loss": loss}


def _agreement(
    plan: FitDesign,
    short: Sequence[TrainingRecord],
    long: Confirmation | None,
    objective: str,
    seed: int,
) -> Plain | None:
    """How far the first rung's order is that of the longer trainings at the fit's phi."""
    if long is None:
        return None
    nets = {n.id: n for n in plan.by_id().values() if n.id != plan.baseline.id}
    fewest = min(row.epochs for row in short)
    orders = [
        mean_losses([row for row in rows if row.id in nets], nets, objective)
        for rows in ([row for row in short if row.epochs == fewest], long.rows)
    ]
    found = agreement(orders[0], orders[1], seed)
    if found is None:
        return None
    number, tau = found
    return {"num_networks": number, "kendall": tau.value, "low": tau.low, "high": tau.high}


def _unconfirmed(regret: Mapping[str, Mapping[str, float]]) -> str:
    worse = [name for name, three in regret.items() if three["low"] > 0]
    if not worse:
        return "not confirmed by longer trainings; the surface does not tell the rules apart"
    return f"not confirmed by longer trainings; by the surface better than {', '.join(worse)}"
