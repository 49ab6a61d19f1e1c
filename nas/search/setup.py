"""What a search needs, checked and opened before anything is spent on training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from nas.accuracy.factory import WORST
from nas.accuracy.scratch import Scratch
from nas.accuracy.worker_pool import WorkerPool
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.config import make
from nas.core.errors import UserError
from nas.core.run_folder import (
    check_config,
    differences,
    environment,
    lock_folder,
    open_folder,
    write_json,
    write_yaml,
)
from nas.data.dataset import ImageData
from nas.latency.range import LatencyRange, latency_range
from nas.latency.store import LatencySource, open_latencies, table_folder
from nas.search.evaluator import Evaluator
from nas.search.samplers.for_space import check_aim
from nas.search.samplers.warm_start import earlier_run
from nas.search.storage import storage_at
from nas.search.study import Study
from nas.space.bounds import check_limits, cost_bounds, trellis_of
from nas.space.choices import choices, fill, size
from nas.space.configured import space_for
from nas.space.constrained import ConstrainedSpace
from nas.space.limits import COSTS, Limits
from search_spaces.lookup import adapted, at_width, members

# Settings that may differ between two calls of one run.
FREE = ("trials", "finalists", "spread", "random", "results", "run", "choices", "device", "strict")
# Groups whose options may differ by nothing but the code that they name.
NAMED = ("space", "accuracy", "sampler")
BEYOND = 1.2  # times the target: networks slower than that are not trained


@dataclass(frozen=True)
class Plan:
    """Everything that a search needs, opened and checked before anything is spent."""

    settings: Mapping[str, Any]
    folder: Path
    load: Callable[[], ImageData]
    data: ImageData
    space: Arch
    members: Mapping[str, Mapping[str, Any]]
    latencies: LatencySource
    latency_range: LatencyRange
    evaluator: Evaluator
    allowed: ConstrainedSpace
    pool: WorkerPool
    study: Study
    target_ms: float

    @property
    def alike(self) -> bool:
        """Whether every trial is trained by itself, so that nothing need be trained again."""
        return bool(self.settings["choices"]["accuracy"] == "scratch")


def planned(settings: dict[str, Any], stack: ExitStack, console: Console) -> Plan:
    """Open everything that is needed, for `stack` to close; the configuration is written last."""
    load = partial(make, settings["data"])
    budget, sampler = make(settings["budget"]), make(settings["sampler"])
    tried(sampler, settings["warm_start"])
    make(settings["accuracy"])  # its mistakes are named before anything is measured
    data = load()
    space = space_for(settings, make, data.spec)
    limits = Limits(**settings["limit"])
    check_limits(limits, space)
    earlier = earlier_run(start, choices(space)) if (start := settings["warm_start"]) else []
    inside = members(space, settings["width"])
    judge = partial(Scratch.open, load, budget, settings["device"], settings["seed"])
    pool = stack.enter_context(WorkerPool(judge, settings["workers"]))
    folder = open_folder(Path(str(settings["results"])) / "search" / settings["run"])
    stack.enter_context(lock_folder(folder))
    introduce(settings, data, space, console)
    device, effort = make(settings["latency"]), make(settings["table"])
    table = table_folder_of(settings, space, device, effort)
    study = opened(settings, data, space, sampler, folder, table.name)
    latencies, ranges = timed(settings, space, device, effort, table, console)
    evaluator = Evaluator(latencies, pool, limits, exempt=drawn(settings, space, inside))
    target_ms = target_of(settings, study, evaluator)
    evaluator = replace(evaluator, most_ms=most_ms(settings, limits.latency_ms, target_ms, ranges))
    allowed = within(settings, space, latencies.source, evaluator)
    if "objective" in sampler.keywords:
        earlier = study.note("earlier", lambda: earlier) if earlier else []
        study.sampler = sampler(
            allowed, target_ms=target_ms, seed=settings["seed"], earlier=earlier
        )
    begin(settings, data, latencies, study, folder, table.name)
    return Plan(
        settings, folder, load, data, space, inside, latencies, ranges, evaluator, allowed, pool,
        study, target_ms,
    )  # fmt: skip


def drawn(settings: Mapping[str, Any], space: Arch, inside: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the members that are drawn for reference, however slow they are."""
    names = {at_width(name, settings["width"]) for name in settings["references"]}
    return frozenset(network_id(fill(space, inside[name])) for name in names & inside.keys())


def table_folder_of(settings: Mapping[str, Any], space: Arch, device: Any, effort: Any) -> Path:
    """Where the latency table of this search is kept."""
    return table_folder(settings["results"], settings["choices"]["space"], space, device, effort)


def timed(
    settings: Mapping[str, Any],
    space: Arch,
    device: Any,
    effort: Any,
    table: Path,
    console: Console,
) -> tuple[LatencySource, LatencyRange]:
    """The latencies of the space, by a table that is built where it is missing; what it reaches."""
    trellis = trellis_of(space)
    found = open_latencies(space, trellis, device, effort, table, console, settings["strict"])
    return found, latency_range(trellis, found.source, space.resolution)


def most_ms(
    settings: Mapping[str, Any], limit_ms: float | None, target_ms: float, ranges: LatencyRange
) -> float:
    """The latency from which on nothing is trained; UserError where the space is slower.

    A published network that the space cannot reach is a mark to draw, and no limit.
    """
    if limit_ms is not None:
        ranges.require(limit_ms, "limit.latency_ms")
    if not isinstance(settings["target"], str):
        ranges.require(target_ms)
    reached = ranges.fastest[0] <= BEYOND * target_ms
    return BEYOND * target_ms if reached else math.inf


def within(
    settings: Mapping[str, Any], space: Arch, source: Any, evaluator: Evaluator
) -> ConstrainedSpace:
    """What the limits leave of the space, by the latencies that `source` knows."""
    trellis, limit_ms = trellis_of(space), evaluator.limits.latency_ms
    row_ms = np.array([source.row_ms(row, space.resolution) for row in trellis.rows])
    most_ms = evaluator.most_ms if limit_ms is None else limit_ms
    limits = {name: settings["limit"].get(name) for name in COSTS}
    return ConstrainedSpace(trellis, row_ms, source.overhead_ms, most_ms, limits)


def tried(sampler: Any, warm_start: str | None) -> None:
    """Refuse settings that the sampler does not take; ours needs a table to be made at all."""
    if "objective" in sampler.keywords:
        check_aim(sampler.keywords["objective"], sampler.keywords.get("exponent"))
        return
    if warm_start:
        raise UserError(f"warm_start={warm_start} is for sampler=known_cost: choose it, or null")
    try:
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
    check_config(folder / "config.yaml", kept(settings, data, table))
    return Study(
        space,
        name=settings["run"],
        storage=storage_at(folder, settings["storage"]),
        sampler=sampler,
        seed=settings["seed"],
        worst=WORST[settings["choices"]["accuracy"]](data.num_classes),
    )


def kept(settings: Mapping[str, Any], data: ImageData, table: str) -> dict[str, Any]:
    """The configuration that a run keeps from its first call to its last."""
    fixed = {k: v for k, v in settings.items() if k not in FREE}
    groups = {group: settings["choices"][group] for group in NAMED}
    return {
        **fixed, "groups": groups, "data_fingerprint": data.fingerprint, "latency_table": table,
    }  # fmt: skip


def begin(
    settings: Mapping[str, Any],
    data: ImageData,
    latencies: LatencySource,
    study: Study,
    folder: Path,
    table: str,
) -> None:
    """Write down what the run is, in its folder and in its study."""
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
    least, most = cost_bounds(space)
    console.print(
        f"space     {settings['choices']['space']} · {len(choices(space))} choices · "
        f"{size(space):.2g} genomes · MACs {least.macs / 1e6:.3g} to {most.macs / 1e6:.3g} M · "
        f"parameters {least.params / 1e6:.3g} to {most.params / 1e6:.3g} M"
    )
    console.print(f"data      {data.described()}")
