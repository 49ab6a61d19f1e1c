"""`python -m nas.latency`: build, validate and save the latency table of a space on a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.core.checks import check_bool, check_number, check_whole
from nas.core.config import make
from nas.core.run_folder import open_folder, write_json
from nas.latency.range import latency_range
from nas.latency.report import print_range, print_space, summarise, write_page
from nas.latency.store import LatencySource, open_latencies, table_folder
from nas.space.bounds import trellis_of
from nas.space.choices import fill
from nas.space.configured import space_for
from search_spaces.lookup import PUBLISHED, adapted, at_width, members


def latency(settings: dict[str, Any]) -> None:
    """Build or read the table that `settings` describe, and say what it tells."""
    settings = checked(settings)
    console = Console(highlight=False, soft_wrap=True)
    images = make(settings["data"]).spec
    images = images._replace(resolution=settings["resolution"] or images.resolution)
    space = space_for(settings, make, images)
    device, effort = make(settings["latency"]), make(settings["table"])
    trellis, label = trellis_of(space), settings["choices"]["space"]
    folder = open_folder(table_folder(settings["results"], label, space, device, effort))
    print_space(console, label, space, trellis)
    found = open_latencies(space, trellis, device, effort, folder, console, settings["strict"])
    ranges = latency_range(trellis, found.source, space.resolution)
    published = published_costs(settings, space, found)
    target_ms = target_of(settings, space, found)
    facts = summarise(found, ranges, published, target_ms)
    print_range(console, settings, ranges, published, target_ms)
    write_json(folder / "summary.json", facts)
    write_page(folder, f"{label} at {space.resolution} pixels", found, ranges, published, target_ms)
    files = " ".join(sorted(path.name for path in folder.iterdir() if path.name[0] != "."))
    console.print(f"wrote     {folder}/: {files}")
    if target_ms is not None and not isinstance(settings["target"], str):
        ranges.require(target_ms)


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range and names known."""
    settings["resolution"] = check_whole(
        "resolution", settings["resolution"], 1, 8192, optional=True
    )
    check_number("width", settings["width"], 0.05, 16, optional=True)
    check_bool("strict", settings["strict"])
    target = settings["target"]
    if isinstance(target, str):
        _ = PUBLISHED[target]
    else:
        check_number("target", target, 1e-9, optional=True)
    return settings


def published_costs(
    settings: Mapping[str, Any], space: Arch, found: LatencySource
) -> dict[str, dict[str, float]]:
    """MACs and milliseconds of the published networks that the space contains, fastest first."""
    inside = {n: fill(space, p) for n, p in members(space, settings["width"]).items()}
    timings = found.measure_many(list(inside.values()))
    rows = {
        name: {"latency_ms": timing.median_ms, "macs": cost(arch).macs}
        for (name, arch), timing in zip(inside.items(), timings, strict=True)
    }
    return dict(sorted(rows.items(), key=lambda row: row[1]["latency_ms"]))


def target_of(settings: Mapping[str, Any], space: Arch, found: LatencySource) -> float | None:
    """The target in milliseconds; of a published network, as the search would have it."""
    target = settings["target"]
    if not isinstance(target, str):
        return None if target is None else float(target)
    arch = adapted(at_width(target, settings["width"]), space)
    return found.measure_many([arch])[0].median_ms
