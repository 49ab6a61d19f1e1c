"""`python -m nas.latency`: build, validate and save the latency table of a space on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli import main, make, number, plain, space_for
from nas.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from nas.arch import Arch
    from nas.latency.store import Latencies
    from nas.latency.survey import Survey
    from nas.trellis import Trellis

ABOUT = """\
Build the latency table of a search space on your device: blocks are timed alone, whole networks
correct their sum, and others that the table never saw say how wrong it is.  The search uses the
table by itself; the same command again reads it, or goes on where it was stopped."""


def latency(cfg: Any) -> None:
    """Build or read the table that `cfg` (conf/latency.yaml) describes, and say what it tells."""
    from rich.console import Console

    from nas.latency.store import open_latencies, table_folder
    from nas.latency.survey import survey
    from nas.reach import trellis_of
    from nas.results import open_folder, write_json

    settings = checked(plain(cfg))
    console = Console(highlight=False, soft_wrap=True)
    space = space_for(settings, make(settings["data"]), settings["resolution"])
    device, effort = make(settings["latency"]), make(settings["table"])
    trellis, label = trellis_of(space), settings["choices"]["space"]
    folder = open_folder(table_folder(settings["results"], label, space, device, effort))
    introduce(console, label, space, trellis)
    found = open_latencies(space, trellis, device, effort, folder, console, settings["strict"])
    ranges = survey(trellis, found.source, space.resolution)
    published = published_costs(settings, space, found)
    target_ms = target_of(settings, space, found)
    facts = summarised(found, ranges, published, target_ms)
    say_ranges(console, settings, ranges, published, target_ms)
    write_json(folder / "summary.json", facts)
    draw(folder, f"{label} at {space.resolution} pixels", found, ranges, published, target_ms)
    files = " ".join(sorted(path.name for path in folder.iterdir() if path.name[0] != "."))
    console.print(f"wrote     {folder}/: {files}")
    if target_ms is not None and not isinstance(settings["target"], str):
        ranges.require(target_ms)


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range and names known."""
    from search_spaces.published import PUBLISHED

    settings["resolution"] = number(settings, "resolution", 1, 8192, whole=True)
    number(settings, "width", 0.05, 16)
    if not isinstance(settings["strict"], bool):
        raise UserError(f"strict must be true or false, not {settings['strict']!r}")
    target = settings["target"]
    if isinstance(target, str):
        _ = PUBLISHED[target]
    else:
        number(settings, "target", 1e-9)
    return settings


def introduce(console: Console, label: str, space: Arch, trellis: Trellis) -> None:
    """Say which space, and what it costs by arithmetic."""
    from nas.reach import ranges
    from nas.space import choices, size

    least, most = ranges(space)
    console.print(
        f"space     {label} · {len(choices(space))} choices · {size(space):.2g} genomes · "
        f"{len(trellis.rows):,} distinct blocks · {space.resolution} px"
    )
    console.print(
        f"costs     MACs {least.macs / 1e6:.3g} to {most.macs / 1e6:.3g} M · "
        f"parameters {least.params / 1e6:.3g} to {most.params / 1e6:.3g} M · peak memory "
        f"{least.peak_memory_bytes / 1024:.3g} to {most.peak_memory_bytes / 1024:.3g} KB"
    )


def published_costs(
    settings: Mapping[str, Any], space: Arch, found: Latencies
) -> dict[str, dict[str, float]]:
    """MACs and milliseconds of the published networks that the space contains, fastest first."""
    from nas.cost import cost
    from nas.space import fill
    from search_spaces.published import members

    inside = {n: fill(space, p) for n, p in members(space, settings["width"]).items()}
    timings = found.measure_many(list(inside.values()))
    rows = {
        name: {"latency_ms": timing.median_ms, "macs": cost(arch).macs}
        for (name, arch), timing in zip(inside.items(), timings, strict=True)
    }
    return dict(sorted(rows.items(), key=lambda row: row[1]["latency_ms"]))


def target_of(settings: Mapping[str, Any], space: Arch, found: Latencies) -> float | None:
    """The target in milliseconds; of a published network, as the search would have it."""
    from search_spaces.published import adapted, at_width

    target = settings["target"]
    if not isinstance(target, str):
        return None if target is None else float(target)
    arch = adapted(at_width(target, settings["width"]), space)
    return found.measure_many([arch])[0].median_ms


def summarised(
    found: Latencies,
    ranges: Survey,
    published: Mapping[str, Mapping[str, float]],
    target_ms: float | None,
) -> dict[str, Any]:
    """What summary.json holds; the figures of a table that was only read are not known."""
    from nas.latency.table import LatencyTable

    facts: dict[str, Any] = {"latency": found.name}
    if isinstance(table := found.source, LatencyTable):
        facts |= {
            "num_blocks": len(table.blocks),
            "num_keys": table.num_keys,
            "seconds": table.seconds,
            "noisy_blocks": sum(timing.noisy for _, timing in table.blocks),
            "validation": table.validation,
            "warnings": table.warnings(),
            "model": asdict(table.model),
        }
    return facts | {
        "fastest_ms": ranges.fastest[0],
        "slowest_ms": ranges.slowest[0],
        "fastest": ranges.fastest[1],
        "slowest": ranges.slowest[1],
        "macs_spearman": ranges.macs_rank,
        "published": published,
        "target_ms": target_ms,
        "share_within_target": None if target_ms is None else ranges.share_within(target_ms),
    }


def say_ranges(
    console: Console,
    settings: Mapping[str, Any],
    ranges: Survey,
    published: Mapping[str, Mapping[str, float]],
    target_ms: float | None,
) -> None:
    """Print what the space reaches, the target's place in it, and what MACs tell of latency."""
    from search_spaces.published import at_width

    console.print(
        f"range     {ranges.fastest[0]:.3g} to {ranges.slowest[0]:.3g} ms, of all networks of the "
        f"space · MACs rank random networks at Spearman {ranges.macs_rank:.3f}"
    )
    if target_ms is not None:
        whose = settings["target"]
        named = f" of {at_width(whose, settings['width'])}" if isinstance(whose, str) else ""
        share = f"{ranges.share_within(target_ms):.0%} of random networks are within"
        if target_ms < ranges.fastest[0]:
            share = "no network of the space is as fast"
        console.print(f"target    {target_ms:.3g} ms{named} · {share}")
    for name, row in published.items():
        mark = "within" if target_ms is None or row["latency_ms"] <= target_ms else "over"
        said = "" if target_ms is None else f" · {mark} the target"
        console.print(f"published {name} · {row['latency_ms']:.3g} ms{said}")


def draw(
    folder: Path,
    title: str,
    found: Latencies,
    ranges: Survey,
    published: Mapping[str, Mapping[str, float]],
    target_ms: float | None,
) -> None:
    """Write latency.html: predicted against measured, and latency against MACs."""
    import pandas as pd

    from nas.latency.page import latency_page
    from nas.latency.store import said
    from nas.latency.table import LatencyTable

    networks, table = folder / "networks.csv", found.source
    rows = pd.read_csv(networks).to_dict("records") if networks.exists() else []
    latency_page(
        folder / "latency.html",
        title=title,
        lead=[f"{found.name}: {said(table)}" if isinstance(table, LatencyTable) else found.name],
        networks=[{str(k): v for k, v in row.items()} for row in rows],
        macs=ranges.costs.macs[:2000].astype(float),
        ms=ranges.ms[:2000],
        rank=ranges.macs_rank,
        published={name: (row["macs"], row["latency_ms"]) for name, row in published.items()},
        target_ms=target_ms,
    )


if __name__ == "__main__":
    main("latency", latency, ABOUT)
