"""`python -m nas.search`: a Pareto front of accuracy and latency, on your data and your device."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from rich.console import Console

from nas.accuracy.factory import Judges, judges_for
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.progress import ProgressBar
from nas.search.evaluator import Evaluator
from nas.search.phases import (
    apart,
    arch_of,
    at_random,
    finals,
    labelled,
    references,
    rows_trained,
    spread,
    watching,
)
from nas.search.report import front_of, print_front, print_winner, trial_frame, write_results
from nas.search.samplers.pruning import Pruning, rungs
from nas.search.settings import checked
from nas.search.setup import Plan, planned
from nas.space.bounds import size_ladder
from nas.space.choices import fill
from search_spaces.lookup import adapted, at_width

TABLE_WIDTH = 100  # characters of the front's table, also in a pipe
SCORED_AT_ONCE = 8  # networks that a judge without training gets at a time
INTERRUPTED = "interrupted"
RUNGS = 8  # networks of growing size that are tried right after the published ones


def search(settings: dict[str, Any]) -> None:
    """Run the search that `settings` (conf/search.yaml) describes; all goes to its run folder."""
    began = time.perf_counter()
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    with ExitStack() as stack:
        plan = planned(checked(settings), stack, console)
        aim(plan, console)
        try:
            stopped = searched(plan, console)
        except KeyboardInterrupt:
            plan.pool.close()
            stopped = INTERRUPTED
        report(plan, time.perf_counter() - began, stopped, console)
    if stopped == INTERRUPTED:
        sys.exit(130)


def aim(plan: Plan, console: Console) -> None:
    """Say what the target is, and where it lies in the space."""
    whose, found = plan.settings["target"], plan.latency_range
    named = f", of {at_width(whose, plan.settings['width'])}" if isinstance(whose, str) else ""
    most = plan.evaluator.limits.latency_ms or plan.evaluator.most_ms
    rule = "all are trained" if most == math.inf else f"none is trained over {most:.3g} ms"
    console.print(
        f"target    {plan.target_ms:.3g} ms{named} · {rule} · the space reaches from "
        f"{found.fastest[0]:.3g} to {found.slowest[0]:.3g} ms, "
        f"{found.share_within(plan.target_ms):.0%} of random networks are within the target"
    )


def searched(plan: Plan, console: Console) -> str | None:
    """Train the references, search, train the best alone; why the search stopped early."""
    references(plan, console)
    beside = at_random(plan)
    stopped = None
    if plan.study.judged < plan.settings["trials"] or plan.study.missing("random", beside):
        evaluator = replace(plan.evaluator, judges=judges(plan, console))
        stopped = explored(plan, evaluator, console)
        apart(plan, "random", beside, evaluator, console, SCORED_AT_ONCE)
    if not plan.alike:
        finals(plan, console)
    return stopped


def explored(plan: Plan, evaluator: Evaluator, console: Console) -> str | None:
    """Judge members and a ladder of sizes, then what the sampler proposes."""
    study, trials = plan.study, plan.settings["trials"]
    if study.judged >= trials:
        return None
    evaluator = replace(evaluator, floors=pruning(plan))
    study.enqueue(
        [*plan.members.items(), *(("", picks) for picks in size_ladder(plan.space, RUNGS))]
    )
    batch = 2 * plan.settings["workers"] if plan.alike else SCORED_AT_ONCE
    with ProgressBar(console, "search", trials, study.judged) as live, watching(plan, live):

        def told() -> None:
            live(study.judged, study.best_under(plan.target_ms))

        return study.run(evaluator, trials=trials, batch=batch, told=told)


def pruning(plan: Plan) -> Pruning | None:
    """When a training stops early, published ones never; None where all run to their end."""
    if not (plan.alike and plan.settings["accuracy"]["prune"]):
        return None
    published = frozenset(network_id(fill(plan.space, p)) for p in plan.members.values())
    return Pruning(plan.study.known, rungs(plan.settings["budget"]["epochs"]), published)


def judges(plan: Plan, console: Console) -> Judges:
    """The judge that the configuration names; a supernet is trained now, with progress."""
    if plan.alike:
        return plan.pool
    with ExitStack() as stack:
        bars: list[ProgressBar] = []

        def progress(part: float, left: float, history: Any) -> None:
            if not bars:  # one bar at a time: labels have their own, before or after
                bars.append(stack.enter_context(ProgressBar(console, "supernet", 100, 0)))
            bars[0](int(100 * part), "% of the training")
            if part >= 1:
                stack.close()

        context = {
            "load": plan.load, "space": plan.space, "device": plan.settings["device"],
            "seed": plan.settings["seed"], "checkpoint": plan.folder / "supernet.pt",
            "progress": progress, "within": plan.allowed.allows,
            "truth": labelled(plan, console), "draw": partial(spread, plan),
        }  # fmt: skip
        return judges_for(plan.settings["accuracy"], plan.pool, context)


def measured(
    plan: Plan,
    trials: pd.DataFrame,
    beside: pd.DataFrame,
    arch_of: Callable[[int], Arch],
    console: Console,
) -> dict[str, float]:
    """Milliseconds, by id, of the front and the published networks, each timed as a whole.

    Where the device has gone away since, that is said, and nothing is lost but these.
    """
    if not plan.latencies.device or trials.empty:
        return {}
    named = trials[(trials["name"] != "") & (trials["state"] == "complete")]
    shown = pd.concat([front_of(trials), named])
    archs = {
        str(key): arch_of(number)
        for key, number in zip(shown["id"], shown["number"].astype(int), strict=True)
    }
    for key, name in zip(beside["id"], beside["name"], strict=True):
        archs[str(key)] = adapted(str(name), plan.space)
    try:
        return plan.study.measured(archs, plan.latencies.device.measure_many)
    except UserError as error:
        console.print(f"measured  nothing: {error}")
        return {}


def report(plan: Plan, seconds: float, stopped: str | None, console: Console) -> None:
    """Write the run folder and print the front, the winner and where to go on."""
    study, known = plan.study, arch_of(plan)
    trials, beside = trial_frame(study.rows()), trial_frame(study.rows_apart("published"))
    scored = None if plan.alike else trials
    trials = trials if scored is None else trial_frame(rows_trained(plan))
    outcome = write_results(
        plan.folder,
        trials=trials,
        beside=beside,
        scored=scored,
        random=trial_frame(study.rows_apart("random")),
        target_ms=plan.target_ms,
        measured={} if stopped == INTERRUPTED else measured(plan, trials, beside, known, console),
        arch_of=known,
        about={
            "space": plan.settings["choices"]["space"],
            "data": plan.data.name,
            "images": [len(s) for s in (plan.data.train, plan.data.val, plan.data.test)],
            "resolution": plan.data.resolution,
            "budget": plan.settings["choices"]["budget"],
            "accuracy": plan.settings["choices"]["accuracy"],
            "latency": plan.evaluator.timer.name,
            "sampler": plan.settings["choices"]["sampler"],
            "seed": plan.settings["seed"],
            "seconds": study.add_seconds(seconds),
        },
    )
    print_front(console, outcome)
    print_winner(console, outcome)
    console.print(f"wrote     {plan.folder}/: pareto.html winner.yaml trials.csv summary.json ...")
    same = "" if plan.data.name == "embedded" else ", with the same data= settings"
    console.print(
        f"next      python -m nas.train trains the winner on, python -m nas.scale grows it{same}"
    )
    if stopped:
        more = "the same command goes on" if stopped == INTERRUPTED else "nothing more to do"
        console.print(f"stopped   {stopped} after {study.judged} networks; {more}")
