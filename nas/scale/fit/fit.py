"""The fit of alpha, beta and gamma: which way of scaling a baseline is best.

EfficientNet (Tan and Le 2019, section 4) takes phi = 1, asks a small grid of triples for networks
of twice the cost, and keeps the best.  Here cost is what the rounded networks truly cost, few of
them are trained, a surface through all those trainings picks the triple, and longer trainings
against the other rules say what that is worth.
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
from nas.scale.fit.comparison import percent, percents
from nas.scale.fit.confirmation import Confirmation, confirm
from nas.scale.fit.design import FitDesign, design_fit
from nas.scale.fit.grid import Scaler
from nas.scale.fit.halving import mean_losses, num_epochs, successive_halving
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
from nas.stats.correlation import interval, kendall

Say = Callable[[str], None]

OBJECTIVES = ("macs", "latency", "lacs")
MIN_NETWORKS = 5  # without which there is no surface, however much it is shrunk
MIN_COMPARED = 4  # networks, for the agreement of two orders to have any meaning


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
    judge      of (network, epochs, seed) [n]: yields (index, answer) as they come
    objective  "macs" and "latency" demand that cost; "lacs" weighs it by MnasNet's product
    folder     keeps trainings and measured costs (judged.jsonl) of one judge and one device, so
               that a killed fit goes on and a second call trains nothing
    progress   is told (epochs done, epochs in all, what)
    elastic    makes a judge of networks by weights that they share, which scores every candidate
               in place of the short trainings
    repeats, fixed_ends   as of `nas.arch.scaling.apply`

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
    """Scores of all that may be chosen, as trainings of no epoch."""
    archs = [net.arch for net in design.by_id().values()]
    scorings = Trainings(elastic(archs), trainings.journal, lambda done, total, what: None, 0)
    records = scorings([(arch, 0, design.seed) for arch in archs], "")
    trainings.seen += scorings.seen
    return records


def _max_epochs(design: FitDesign, halving: bool) -> int:
    budget = design.budget
    confirmed = (len(design.rivals) + 1) * len(budget.confirm_phis) + 1
    longer = confirmed * budget.confirm_epochs * budget.confirm_seeds
    return longer + (num_epochs(len(design.points), budget.rungs) if halving else 0)


def _conclude(
    design: FitDesign, short: Sequence[TrainingRecord], trainings: Trainings, say: Say
) -> Fit:
    if (number := len({record.id for record in short})) < MIN_NETWORKS:
        reasons = Counter(record.reason for record in trainings.seen if record.reason)
        why = reasons.most_common(1)[0][0] if reasons else "there were no more"
        raise UserError(
            f"only {number} networks could be trained (allowed: {MIN_NETWORKS} or more): {why}; "
            "mend that, and the same command tries them again"
        )
    found = find_optimum(short, design)
    say(
        f"surface through {len(short)} scores of {number} networks: R² {found.surface.r2:.2f}, "
        f"{percent(found.surface.loo):.1f} % off where one is left out"
    )
    best = design.candidates[found.best]
    long = confirm(design, best, trainings) if design.budget.confirm_seeds else None
    if failed := [record.reason for record in trainings.seen if record.reason]:
        say(f"{len(failed)} of {len(trainings.seen)} trainings failed: {failed[0]}")
    return _build_result(design, found, short, long, trainings)


def _build_result(
    design: FitDesign,
    found: Optimum,
    short: Sequence[TrainingRecord],
    long: Confirmation | None,
    trainings: Trainings,
) -> Fit:
    judged, surface = {record.id for record in short}, found.surface
    resolution, macs = design.baseline.arch.resolution, arithmetic(design.baseline.arch).macs
    fidelities = (record.fidelity for record in trainings.seen if record.fidelity)
    regret = {name: percents(difference) for name, difference in found.regret.items()}
    candidates = [
        design.describe(net)
        | {"growth": net.growth, "predicted": loss, "chosen": part, "judged": net.id in judged}
        for net, loss, part in zip(design.candidates, found.values, found.chosen, strict=True)
    ]
    best = design.candidates[found.best]
    triple = dict(zip(("alpha", "beta", "gamma"), best.triple, strict=True))
    values = {
        **triple,
        "phi": design.phi,
        "intervals": found.intervals,
        "objective": design.objective,
        "num_points": len(judged),
        "verdict": long.verdict if long else _unconfirmed(regret),
        "judge": ", ".join(dict.fromkeys(fidelities)),
        "tolerance": design.tolerance,
        "baseline": {"resolution": resolution, "macs": macs, "exponents": design.exponents},
        "surface": {
            **{name: getattr(surface, name) for name in ("terms", "r2", "loo", "ridge")},
            "level": surface.levels.mean(),
            "loss": "accuracy and cost" if design.objective == "lacs" else "cross-entropy",
        },
        "candidates": candidates,
        "rivals": {name: design.describe(net) for name, net in design.rivals.items()},
        "regret": regret,
        "confirmation": long.table if long else [],
        "agreement": _agreement(design, short, long) if long else None,
        "rows": [asdict(record) for record in trainings.seen],
    }
    return Fit(**to_plain(values))


def _agreement(
    design: FitDesign, short: Sequence[TrainingRecord], long: Confirmation
) -> Plain | None:
    """How far the first rung's order is that of the longer trainings at the fit's phi."""
    nets = {key: net for key, net in design.by_id().items() if key != design.baseline.id}
    min_epochs = min(record.epochs for record in short)
    early, late = (
        mean_losses([record for record in records if record.id in nets], nets, design.objective)
        for records in ([r for r in short if r.epochs == min_epochs], long.records)
    )
    both = sorted(early.keys() & late.keys())
    if len(both) < MIN_COMPARED:
        return None
    tau = interval(kendall, [early[k] for k in both], [late[k] for k in both], design.seed)
    return {"num_networks": len(both), "kendall": tau.value, "low": tau.low, "high": tau.high}


def _unconfirmed(regret: Mapping[str, Mapping[str, float]]) -> str:
    worse = [name for name, three in regret.items() if three["low"] > 0]
    if not worse:
        return "not confirmed by longer trainings; the surface does not tell the rules apart"
    return f"not confirmed by longer trainings; by the surface better than {', '.join(worse)}"
