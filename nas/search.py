"""`python -m nas.search`: a Pareto front of accuracy and latency, on your data and your device."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli import main, make, number, plain, space_for
from nas.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from nas.accuracy.pool import Pool
    from nas.arch import Arch
    from nas.data import ImageData
    from nas.evaluate import Evaluator
    from nas.latency.store import Latencies
    from nas.latency.survey import Survey
    from nas.study import Study

ABOUT = """\
Search a space of mobile networks for the front of accuracy and latency.  Published networks that
the space contains are tried first; the same command again goes on where it stopped."""

LIMITS = ("latency_ms", "macs", "params", "memory_kb")
# Settings that may differ between two calls of one run.
FREE = ("trials", "results", "run", "choices", "device", "strict")
BEYOND = 1.2  # times the target: networks slower than that are not trained
TABLE_WIDTH = 100  # characters of the front's table, also in a pipe
RUNGS = 8  # networks of growing size that are tried right after the published ones


@dataclass(frozen=True)
class Plan:
    """Everything that a search needs, opened and checked before anything is spent."""

    settings: Mapping[str, Any]
    folder: Path
    data: ImageData
    space: Arch
    members: Mapping[str, Mapping[str, Any]]
    latencies: Latencies
    survey: Survey
    evaluator: Evaluator
    pool: Pool
    study: Study
    target_ms: float


def search(cfg: Any) -> None:
    """Run the search that `cfg` (conf/search.yaml) describes; all goes to its run folder."""
    from rich.console import Console

    began = time.perf_counter()
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    with ExitStack() as stack:
        plan = planned(checked(plain(cfg)), stack, console)
        aim(plan, console)
        try:
            stopped = searched(plan, console)
        except KeyboardInterrupt:
            plan.pool.close()
            stopped = "interrupted"
        report(plan, time.perf_counter() - began, stopped, console)
    if stopped == "interrupted":
        sys.exit(130)


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range, names known, and the run named."""
    from nas.training import resolve_device
    from search_spaces.published import PUBLISHED

    for name, low in (("trials", 1), ("workers", 1), ("seed", 0)):
        settings[name] = number(settings, name, low, 2**31, whole=True)
        if settings[name] is None:
            raise UserError(f"{name} must be a whole number from {low}, not null")
    if not isinstance(settings["strict"], bool):
        raise UserError(f"strict must be true or false, not {settings['strict']!r}")
    number(settings, "width", 0.05, 16)
    if not isinstance(settings["limit"], dict):
        raise UserError(f"limit must be given by parts (limit.macs=...), not {settings['limit']!r}")
    for limit in settings["limit"]:
        if limit not in LIMITS:
            raise unknown("limit", limit, LIMITS)
        number(settings, f"limit.{limit}", 1e-9, math.inf)
    names, target = settings["references"], settings["target"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"references must be a list of published networks, not {names!r}")
    if not isinstance(target, str) and number(settings, "target", 1e-9) is None:
        raise UserError("target must be milliseconds or a published network, not null")
    for name in [*names, *([target] if isinstance(target, str) else [])]:
        _ = PUBLISHED[name]
    resolve_device(settings["device"])
    run = settings["run"] = str(settings["run"] or settings["choices"]["space"])
    if not set(run) <= set("-_.") | {c for c in run if c.isalnum()} or run.startswith("."):
        raise UserError(f"run must be a name of letters, digits, '-', '_', '.', not {run!r}")
    return settings


def planned(settings: dict[str, Any], stack: ExitStack, console: Console) -> Plan:
    """Open everything that is needed, for `stack` to close; the configuration is written last."""
    from nas.accuracy.pool import Pool
    from nas.accuracy.scratch import Scratch
    from nas.blocks import network_id
    from nas.evaluate import Evaluator, Limits
    from nas.latency.store import open_latencies, table_folder
    from nas.latency.survey import survey
    from nas.reach import check_limits, trellis_of
    from nas.results import open_folder, sole_owner
    from nas.space import fill
    from search_spaces.published import at_width, members

    load = partial(make, settings["data"])
    budget, sampler = make(settings["budget"]), make(settings["sampler"])
    tried(sampler)
    data = load()
    space = space_for(settings, data)
    limits = Limits(**settings["limit"])
    check_limits(limits, space)
    inside = members(space, settings["width"])
    judge = partial(Scratch.open, load, budget, settings["device"], settings["seed"])
    pool = stack.enter_context(Pool(judge, settings["workers"]))
    names = {at_width(name, settings["width"]) for name in settings["references"]}
    ids = frozenset(network_id(fill(space, inside[name])) for name in names & inside.keys())
    folder = open_folder(Path(str(settings["results"])) / "search" / settings["run"])
    stack.enter_context(sole_owner(folder))
    introduce(settings, data, space, console)
    device, effort = make(settings["latency"]), make(settings["table"])
    label = settings["choices"]["space"]
    table = table_folder(settings["results"], label, space, device, effort)
    study = opened(settings, data, space, sampler, folder, table.name)
    trellis = trellis_of(space)
    latencies = open_latencies(space, trellis, device, effort, table, console, settings["strict"])
    ranges = survey(trellis, latencies.source, space.resolution)
    if limits.latency_ms is not None:
        ranges.require(limits.latency_ms, "limit.latency_ms")
    evaluator = Evaluator(latencies, pool, limits, exempt=ids)
    target_ms = target_of(settings, study, evaluator)
    if not isinstance(settings["target"], str):
        ranges.require(target_ms)
    if ranges.fastest[0] <= BEYOND * target_ms:
        # a named network that the space cannot reach is a mark to draw, and no limit
        evaluator = replace(evaluator, most_ms=BEYOND * target_ms)
    if "objective" in sampler.keywords:
        values = [latencies.source.row_ms(row, space.resolution) for row in trellis.rows]
        study.sampler = sampler(
            trellis,
            values,
            latencies.source.overhead_ms,
            most_ms=min(evaluator.most_ms, limits.latency_ms or math.inf),
            limits=settings["limit"],
            target_ms=target_ms,
            seed=settings["seed"],
        )
    begin(settings, data, latencies, study, folder, table.name)
    return Plan(
        settings, folder, data, space, inside, latencies, ranges, evaluator, pool, study, target_ms
    )


def tried(sampler: Any) -> None:
    """Refuse settings that the sampler does not take; ours needs a table to be made at all."""
    from nas.objective import OBJECTIVES

    try:
        if "objective" in sampler.keywords:
            if sampler.keywords["objective"] not in OBJECTIVES:
                raise unknown("objective", sampler.keywords["objective"], OBJECTIVES)
        else:
            sampler(seed=0)
    except (TypeError, ValueError) as error:
        raise UserError(f"wrong settings for the sampler: {' '.join(str(error).split())}") from None


def opened(
    settings: Mapping[str, Any],
    data: ImageData,
    space: Arch,
    sampler: Any,
    folder: Path,
    table: str,
) -> Study:
    """The study of this run; UserError where it began with another configuration."""
    from nas.results import check_config
    from nas.study import Study, storage_at

    check_config(folder / "config.yaml", kept(settings, data, table))
    return Study(
        space,
        name=settings["run"],
        storage=storage_at(folder, settings["storage"]),
        sampler=sampler,
        seed=settings["seed"],
        chance=1 / data.num_classes,
    )


def kept(settings: Mapping[str, Any], data: ImageData, table: str) -> dict[str, Any]:
    """The configuration that a run keeps from its first call to its last."""
    fixed = {k: v for k, v in settings.items() if k not in FREE}
    return {**fixed, "data_fingerprint": data.fingerprint, "latency_table": table}


def begin(
    settings: Mapping[str, Any],
    data: ImageData,
    latencies: Latencies,
    study: Study,
    folder: Path,
    table: str,
) -> None:
    """Write down what the run is, in its folder and in its study."""
    from nas.results import differences, environment, write_json, write_yaml

    config = kept(settings, data, table)
    began = study.note("config", lambda: config)
    if found := differences(config, began):
        raise UserError(
            f"storage={settings['storage']} has a study {settings['run']!r} of other settings "
            f"({found}): give another run="
        )
    write_yaml(folder / "config.yaml", config)
    found_here = environment(seed=settings["seed"], latency=latencies.describe())
    write_json(folder / "environment.json", found_here)


def target_of(settings: Mapping[str, Any], study: Study, evaluator: Evaluator) -> float:
    """The target in ms; that of a published network is measured once in the life of a run."""
    from search_spaces.published import adapted, at_width

    if not isinstance(settings["target"], str):
        return float(settings["target"])
    name = at_width(settings["target"], settings["width"])
    try:
        metrics = study.note(
            f"target:{name}", lambda: evaluator.measured([adapted(name, study.space)])[0].to_json()
        )
    except UserError as error:
        raise UserError(f"target={name} could not be measured: {error}") from None
    if metrics["latency_ms"] is None:
        raise UserError(f"target={name} could not be measured: {metrics['reason']}")
    return float(metrics["latency_ms"])


def introduce(settings: Mapping[str, Any], data: ImageData, space: Arch, console: Console) -> None:
    """Say what is about to be searched."""
    from nas.reach import ranges
    from nas.space import choices, size

    least, most = ranges(space)
    console.print(
        f"space     {settings['choices']['space']} · {len(choices(space))} choices · "
        f"{size(space):.2g} genomes · MACs {least.macs / 1e6:.3g} to {most.macs / 1e6:.3g} M · "
        f"parameters {least.params / 1e6:.3g} to {most.params / 1e6:.3g} M"
    )
    console.print(
        f"data      {data.name} {data.resolution}x{data.resolution}x{data.channels} · "
        f"{len(data.train):,} train · {len(data.val):,} validation · {len(data.test):,} test · "
        f"{data.num_classes} classes" + (f" · {data.skipped} unreadable" if data.skipped else "")
    )


def aim(plan: Plan, console: Console) -> None:
    """Say what the target is, and where it lies in the space."""
    from search_spaces.published import at_width

    whose, found = plan.settings["target"], plan.survey
    named = f", of {at_width(whose, plan.settings['width'])}" if isinstance(whose, str) else ""
    most = plan.evaluator.limits.latency_ms or plan.evaluator.most_ms
    rule = "all are trained" if most == math.inf else f"none is trained over {most:.3g} ms"
    console.print(
        f"target    {plan.target_ms:.3g} ms{named} · {rule} · the space reaches from "
        f"{found.fastest[0]:.3g} to {found.slowest[0]:.3g} ms, "
        f"{found.share_within(plan.target_ms):.0%} of random networks are within the target"
    )


def searched(plan: Plan, console: Console) -> str | None:
    """Judge references, members and a ladder of sizes, then search; why it stopped early."""
    from nas.evaluate import Limits
    from nas.progress import Live
    from nas.reach import ladder
    from search_spaces.published import adapted, at_width

    study, settings, inside = plan.study, plan.settings, plan.members
    names = [at_width(name, settings["width"]) for name in settings["references"]]
    beside = {name: adapted(name, plan.space) for name in names if name not in inside}
    for name in list(beside):
        try:
            plan.latencies.measure_many([beside[name]])
        except UserError as error:
            console.print(f"left out  {name}: {error}")
            del beside[name]
    free = replace(plan.evaluator, limits=Limits(), most_ms=math.inf)
    with Live(console, "search", settings["trials"] + len(beside), study.done) as live:

        def told() -> None:
            live(study.done, study.best_under(plan.target_ms))

        study.judge_beside(beside, free, told)
        study.enqueue([*inside.items(), *(("", picks) for picks in ladder(plan.space, RUNGS))])
        batch = 2 * settings["workers"]
        return study.run(plan.evaluator, trials=settings["trials"], batch=batch, told=told)


def measured(
    plan: Plan, trials: pd.DataFrame, beside: pd.DataFrame, console: Console
) -> dict[str, float]:
    """Milliseconds, by id, of the front and the published networks, each timed as a whole.

    Where the device has gone away since, that is said, and nothing is lost but these.
    """
    import pandas as pd

    from nas.report import front_of
    from search_spaces.published import adapted

    if not plan.latencies.device:
        return {}
    named = trials[(trials["name"] != "") & (trials["state"] == "complete")]
    shown = pd.concat([front_of(trials), named])
    archs = {
        str(key): plan.study.arch_of(number)
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
    from nas.report import print_front, print_winner, trial_frame, write_results

    study = plan.study
    trials, beside = trial_frame(study.rows()), trial_frame(study.rows_beside())
    outcome = write_results(
        plan.folder,
        trials=trials,
        beside=beside,
        target_ms=plan.target_ms,
        measured=measured(plan, trials, beside, console),
        arch_of=study.arch_of,
        about={
            "space": plan.settings["choices"]["space"],
            "data": plan.data.name,
            "images": [len(s) for s in (plan.data.train, plan.data.val, plan.data.test)],
            "resolution": plan.data.resolution,
            "budget": plan.settings["choices"]["budget"],
            "latency": plan.evaluator.timer.name,
            "sampler": plan.settings["choices"]["sampler"],
            "seed": plan.settings["seed"],
            "seconds": study.add_seconds(seconds),
        },
    )
    print_front(console, outcome)
    print_winner(console, outcome)
    console.print(f"wrote     {plan.folder}/: pareto.html winner.yaml trials.csv summary.json ...")
    if stopped:
        more = "the same command goes on" if stopped == "interrupted" else "nothing more to do"
        console.print(f"stopped   {stopped} after {study.judged} networks; {more}")


if __name__ == "__main__":
    main("search", search, ABOUT)
