"""A baseline grown into a family, by a rule that is fitted or given.

From Python it is what the command line does, in five lines:

    from nas.scale.run import scale
    from nas.scale.settings import ScaleSettings

    summary = scale(ScaleSettings.of("arch=mobilenet_v2", "rule=uniform", "phi=2"))
    print([(row["name"], row["macs"], row["latency_ms"]) for row in summary["family"]])
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from nas.accuracy.judge import JudgeContext, make_judge
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.progress import ProgressBar, open_console
from nas.core.run_folder import open_folder
from nas.scale.digests import fit_digest, training_digest
from nas.scale.family import (
    Member,
    PhiSolution,
    Rule,
    family,
    family_table,
    largest_phi_within,
    members_within_budget,
    published_family,
)
from nas.scale.fit.fit import fit_scaling
from nas.scale.fit.result import Fit
from nas.scale.measurements import run_jobs, supernet_judge, train_cached
from nas.scale.report import TABLE_WIDTH, describe_fit, print_family, remarks, write_results
from nas.scale.settings import ScaleSettings
from nas.scale.setup import ScaleRun, open_run, rule_of

NUM_SOLVE_STEPS = 12  # prices that a bisection asks for, about


def scale(settings: ScaleSettings) -> dict[str, Any]:
    """Write the family that `settings` describe; returns what its summary.json holds.

    What an earlier call trained or timed, even one that was stopped, is not done again.
    """
    console = open_console(TABLE_WIDTH)
    try:
        return _scale(settings, console, began=time.perf_counter())
    except KeyboardInterrupt:
        console.print("stopped   what was trained and timed is kept; the same command goes on")
        raise


def _scale(settings: ScaleSettings, console: Console, began: float) -> dict[str, Any]:
    with open_run(settings, console) as run:
        fit = _fit(run) if settings.is_fitted else None
        coefficients = [fit.alpha, fit.beta, fit.gamma] if fit else settings.coefficients
        members, solution = _members(run, rule_of(settings, coefficients))
        rows = family_table(members, _latencies(run, members))
        if settings.train:
            _train(run, members, rows)
        data = run.images() if settings.train else None
        summary = {
            "baseline": run.baseline.name,
            "rule": settings.rule or "formula",
            "coefficients": coefficients,
            "repeats": settings.repeats,
            "fit": fit.summary() if fit else None,
            "solved": solution.to_json() if solution else None,
            "data": settings.data.name,
            "images": [len(s) for s in (data.train, data.val, data.test)] if data else None,
            "native": data.resolution if data else None,
            "budget": settings.budget.name,
            "latency": run.timer.name if settings.measure else None,
            "objective": settings.objective,
            "seed": settings.seed,
            "seconds": time.perf_counter() - began,
            "family": rows,
        }
        write_results(run, summary, members, fit)
        print_family(console, rows)
        for label, text in remarks(rows, solution, fit.phi if fit else 1):
            run.say(label, text)
        run.say("wrote", f"{run.folder}/: scale.html family.csv family/ summary.json ...")
    return summary


def _fit(run: ScaleRun) -> Fit:
    settings, images = run.settings, run.images()
    key = fit_digest(settings, run.baseline, images, run.timer)
    folder = open_folder(run.folder / f"fit-{key}")
    elastic, seed = None, settings.seed
    if settings.shares_weights:
        context = JudgeContext(
            run.baseline, run.images, settings.device, seed=seed, checkpoint=folder / "supernet.pt"
        )
        elastic = supernet_judge(run.console, make_judge(settings.accuracy).open, context)
    with run.open_pool(test=False) as pool, ProgressBar(run.console, "fit") as bar:

        def measure_cost(archs: Sequence[Arch]) -> NDArray[np.float64]:
            if settings.objective == "macs":
                return np.array([cost(arch).macs for arch in archs], float)
            return np.array(run.latency(archs, quiet=bar.started), float)

        def on_progress(done: int, total: int, text: str) -> None:
            bar.start(total, done)  # only now: latencies that are timed before have their own bar
            bar.set_total(total)
            bar(done, text)

        fit = fit_scaling(
            run.baseline,
            cost=measure_cost,
            judge=partial(run_jobs, pool, bar.set_partial),
            budget=settings.fit_budget,
            objective=settings.objective,
            folder=folder,
            elastic=elastic,
            seed=seed,
            say=partial(run.say, "fit"),
            progress=on_progress,
            repeats=settings.repeats,
            fixed_ends=settings.fixed_ends,
        )
    for label, text in describe_fit(fit):
        run.say(label, text)
    return fit


def _members(run: ScaleRun, rule: Rule) -> tuple[list[Member], PhiSolution | None]:
    """The family as far as phi, name or budget; how the budget was met."""
    settings, limit, solution = run.settings, run.settings.cost_limit, None
    if settings.rule == "published":
        rows = published_family(run.baseline, settings.name or "b7")
        if limit:
            name, budget = limit
            rows = members_within_budget(rows, budget, _price(run, name), f"{name}={budget:g}")
        return rows, None
    if limit:
        solution = _solve(run, rule, *limit)
    phi = solution.member.phi if solution else settings.phi
    assert phi is not None
    return family(run.baseline, rule, phi), solution


def _price(run: ScaleRun, name: str) -> Callable[[Arch], float]:
    return lambda arch: cost(arch).macs if name == "macs" else run.latency([arch])[0]


def _solve(run: ScaleRun, rule: Rule, name: str, budget: float) -> PhiSolution:
    price, what, num_asked = _price(run, name), f"{name}={budget:g}", count(1)
    if name == "macs":  # which takes no time
        return largest_phi_within(run.baseline, rule, budget, price, what)
    with ProgressBar(run.console, "solve", NUM_SOLVE_STEPS) as bar:

        def price_with_progress(arch: Arch) -> float:
            bar(min(next(num_asked), NUM_SOLVE_STEPS), what)
            return price(arch)

        return largest_phi_within(run.baseline, rule, budget, price_with_progress, what)


def _latencies(run: ScaleRun, members: Sequence[Member]) -> dict[str, float]:
    """Milliseconds by network id, without those that the device or table cannot tell."""
    if not run.settings.measure:
        return {}
    archs = {network_id(member.arch): member.arch for member in members}
    try:
        return dict(zip(archs, run.latency(list(archs.values())), strict=True))
    except UserError as error:
        run.say("latency", f"of some is unknown: {error}")
    known = {}
    for key, arch in archs.items():
        with suppress(UserError):  # said above
            known[key] = run.latency([arch])[0]
    return known


def _train(run: ScaleRun, members: Sequence[Member], rows: Sequence[dict[str, Any]]) -> None:
    """Train every member with the budget; its row learns what it scored."""
    settings, epochs = run.settings, run.training.epochs
    jobs = [(member.arch, epochs, settings.seed) for member in members]
    path, salt = run.folder / "trained.jsonl", training_digest(settings, run.images())
    num_epochs = epochs * len(jobs)
    with run.open_pool(test=True) as pool, ProgressBar(run.console, "train", num_epochs) as bar:
        scores = train_cached(pool, jobs, path, salt, bar)
    for row, score in zip(rows, scores, strict=True):
        row |= score
        if "reason" in score:
            run.say("failed", f"{row['name']}: {score['reason']}")
