"""The fit of alpha, beta and gamma: which way of scaling a baseline is best.

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

from nas.arch.arch import Arch
from nas.arch.cost import cost as arithmetic
from nas.core.checks import check_option
from nas.core.errors import UserError
from nas.core.files import write_text
from nas.core.journal import to_plain
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.comparison import percent
from nas.scale.fit.confirmation import Confirmation, confirm
from nas.scale.fit.design import FitDesign, design_fit
from nas.scale.fit.grid import Scaler
from nas.scale.fit.halving import mean_losses, num_epochs, rank_agreement, successive_halving
from nas.scale.fit.journal import (
    Cost,
    CostRatios,
    Elastic,
    Judge,
    Progress,
    TrainingRecord,
    Trainings,
    open_journal,
)
from nas.scale.fit.optimum import Optimum, find_optimum
from nas.scale.fit.result import Fit, Plain

Say = Callable[[str], None]

OBJECTIVES = ("macs", "latency", "lacs")
MIN_NETWORKS = 5  # without which there is no surface, however much it is shrunk


def fit_scaling(
    baseline: Arch,
    *,
    cost: Cost,
    judge: Judge,
    budget: FitBudget,
    objective: str,
    folder: Path,
    seed: int,
    say: Say,
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
    folder     keeps trainings and measured costs as they come (judged.jsonl), so that a killed fit
               goes on and a second call trains nothing; for one judge and one device
    progress   is told (epochs done, epochs in all, what)
    elastic    makes a judge that scores all networks it is given by weights that they share; with
               it every candidate is scored that way in place of the short trainings
    repeats, fixed_ends   how depths are rounded and what is not scaled (`nas.arch.scaling.apply`)

    The same seed, costs and answers give the same fit.  Raises UserError for what cannot be asked.
    """
    check_option("objective", objective, OBJECTIVES)
    journal = open_journal(folder / "judged.jsonl")
    ratios = CostRatios(baseline, cost, journal, slow=objective != "macs")
    scaler = Scaler(baseline, repeats, fixed_ends)
    design = design_fit(scaler, ratios, budget, objective, seed)
    say(design.words)
    trainings = Trainings(judge, journal, progress, _max_epochs(design, halving=not elastic))
    if elastic:
        short = _score_by_shared_weights(design, elastic, trainings)
    else:
        short = successive_halving(design, trainings)
    fit = _conclude(design, short, trainings, say)
    write_text(folder / "fit.json", json.dumps(fit.to_json(), indent=1) + "\n")
    return fit


def _score_by_shared_weights(
    design: FitDesign, elastic: Elastic, trainings: Trainings
) -> list[TrainingRecord]:
    """Scores of all that may be chosen, by weights that they share: trainings of no epoch."""
    archs = [net.arch for net in design.by_id().values()]
    scorings = Trainings(elastic(archs), trainings.journal, lambda done, total, what: None)
    records = scorings([(arch, 0, design.seed) for arch in archs], "")
    trainings.seen += scorings.seen
    return records


def _max_epochs(design: FitDesign, halving: bool) -> int:
    """Epochs to train in all, at most; with the short trainings of successive `halving` or not."""
    budget = design.budget
    confirmed = (len(design.rivals) + 1) * len(budget.confirm_phis) + 1
    longer = confirmed * budget.confirm_epochs * budget.confirm_seeds
    return longer + (num_epochs(len(design.points), budget.halving()) if halving else 0)


def _conclude(
    design: FitDesign, short: Sequence[TrainingRecord], trainings: Trainings, say: Say
) -> Fit:
    """Find the optimum from many short trainings; train it and its rivals for longer."""
    _require_points(short, trainings)
    found = find_optimum(short, design)
    surface, num_networks = found.surface, len({record.id for record in short})
    say(
        f"surface through {len(short)} scores of {num_networks} networks: R² {surface.r2:.2f}, "
        f"{percent(surface.loo):.1f} % off where one is left out"
    )
    best = design.candidates[found.best]
    long = confirm(design, best, trainings) if design.budget.confirm_seeds else None
    if failed := [record.reason for record in trainings.seen if record.reason]:
        say(f"{len(failed)} of {len(trainings.seen)} trainings failed: {failed[0]}")
    return _build_result(design, found, short, long, trainings)


def _require_points(records: Sequence[TrainingRecord], trainings: Trainings) -> None:
    if (number := len({record.id for record in records})) < MIN_NETWORKS:
        reasons = Counter(record.reason for record in trainings.seen if record.reason)
        why = reasons.most_common(1)[0][0] if reasons else "there were no more"
        raise UserError(
            f"only {number} networks could be trained (allowed: {MIN_NETWORKS} or more): {why}; "
            f"mend that and remove {trainings.journal.path}"
        )


def _build_result(
    design: FitDesign,
    found: Optimum,
    short: Sequence[TrainingRecord],
    long: Confirmation | None,
    trainings: Trainings,
) -> Fit:
    judged = {record.id for record in short}
    fidelities = (record.fidelity for record in trainings.seen if record.fidelity)
    regret = {
        name: {k: percent(v) for k, v in zip(("value", "low", "high"), interval, strict=True)}
        for name, interval in found.regret.items()
    }
    candidates = [
        design.describe(net)
        | {"growth": net.growth, "predicted": loss, "chosen": part, "judged": net.id in judged}
        for net, loss, part in zip(design.candidates, found.values, found.chosen, strict=True)
    ]
    alpha, beta, gamma = design.candidates[found.best].triple
    values = {
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        "phi": design.phi,
        "intervals": found.intervals,
        "objective": design.objective,
        "num_points": len(judged),
        "verdict": long.verdict if long else _unconfirmed(regret),
        "judge": ", ".join(dict.fromkeys(fidelities)),
        "tolerance": design.tolerance,
        "baseline": _baseline(design),
        "surface": _surface(found, design.objective),
        "candidates": candidates,
        "rivals": {name: design.describe(net) for name, net in design.rivals.items()},
        "regret": regret,
        "confirmation": long.table if long else [],
        "agreement": _agreement(design, short, long) if long else None,
        "rows": [asdict(record) for record in trainings.seen],
    }
    return Fit(**to_plain(values))


def _baseline(design: FitDesign) -> Plain:
    arch = design.baseline.arch
    macs = arithmetic(arch).macs
    return {"resolution": arch.resolution, "macs": macs, "exponents": design.exponents}


def _surface(found: Optimum, objective: str) -> Plain:
    surface = found.surface
    values: Plain = {name: getattr(surface, name) for name in ("terms", "r2", "loo", "ridge")}
    loss = "accuracy and cost" if objective == "lacs" else "cross-entropy"
    return {**values, "level": surface.levels.mean(), "loss": loss}


def _agreement(
    design: FitDesign, short: Sequence[TrainingRecord], long: Confirmation
) -> Plain | None:
    """How far the first rung's order is that of the longer trainings at the fit's phi."""
    nets = {key: net for key, net in design.by_id().items() if key != design.baseline.id}
    min_epochs = min(record.epochs for record in short)
    first = [record for record in short if record.epochs == min_epochs]
    losses = [
        mean_losses([record for record in records if record.id in nets], nets, design.objective)
        for records in (first, long.records)
    ]
    agreement = rank_agreement(losses[0], losses[1], design.seed)
    if agreement is None:
        return None
    number, tau = agreement
    return {"num_networks": number, "kendall": tau.value, "low": tau.low, "high": tau.high}


def _unconfirmed(regret: Mapping[str, Mapping[str, float]]) -> str:
    worse = [name for name, three in regret.items() if three["low"] > 0]
    if not worse:
        return "not confirmed by longer trainings; the surface does not tell the rules apart"
    return f"not confirmed by longer trainings; by the surface better than {', '.join(worse)}"
