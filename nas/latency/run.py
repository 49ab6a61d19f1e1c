"""Build, validate and save the latency table of a space on a device."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.core.progress import open_console
from nas.core.run_folder import open_folder, write_json
from nas.latency.page import write_page
from nas.latency.range import Findings, latency_range
from nas.latency.report import print_findings, print_space, summarise
from nas.latency.settings import LatencySettings
from nas.latency.store import LatencySource, open_latencies, table_folder
from nas.space.bounds import trellis_of
from nas.space.choices import fill
from nas.space.configured import configured_space, width_of
from search_spaces.lookup import adapted, at_width, members


def latency(settings: LatencySettings) -> dict[str, Any]:
    """Build or read a table, print and write what it tells; returns what summary.json holds."""
    console = open_console()
    space, width = open_space(settings)
    device, effort = settings.latency.make(), settings.table.make()
    trellis, label = trellis_of(space), settings.space.name
    folder = open_folder(table_folder(str(settings.results), label, space, device, effort))
    print_space(console, label, trellis)
    latencies = open_latencies(trellis, device, effort, folder, console, settings.strict)
    target_ms, target_name = settings.target, None
    if isinstance(target_ms, str):
        target_name = at_width(target_ms, width)
        target_ms = latencies.measure_many([adapted(target_name, space)])[0].median_ms
    findings = Findings(
        latencies=latencies,
        range=latency_range(latencies),
        published=published_costs(space, width, latencies),
        target_ms=target_ms,
        target_name=target_name,
    )
    summary = summarise(findings)
    write_json(folder / "summary.json", summary)
    write_page(folder, f"{label} at {space.resolution} pixels", findings)
    print_findings(console, findings)
    files = " ".join(sorted(path.name for path in folder.iterdir() if path.name[0] != "."))
    console.print(f"wrote     {folder}/: {files}")
    if target_ms is not None and target_name is None:
        findings.range.require(target_ms)
    return summary


def open_space(settings: LatencySettings) -> tuple[Arch, float]:
    """The space for the images, and its width multiplier."""
    images = settings.data.make().spec
    images = images._replace(resolution=settings.resolution or images.resolution)
    option = settings.space
    width = width_of(option.name, option.arguments, settings.width, images.resolution)
    option = option.filled(width=width)
    return configured_space(option.make, option.name, images), width


def published_costs(
    space: Arch, width: float, latencies: LatencySource
) -> dict[str, dict[str, float]]:
    """MACs and milliseconds of the published networks that the space contains, fastest first."""
    inside = members(space, width)
    archs = [fill(space, picks) for picks in inside.values()]
    ms = [timing.median_ms for timing in latencies.measure_many(archs)]
    rows = sorted(zip(ms, inside, archs, strict=True), key=itemgetter(0))
    return {name: {"latency_ms": time, "macs": cost(arch).macs} for time, name, arch in rows}
