"""What `nas.latency` prints and draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from nas.arch.arch import Arch
from nas.latency.page import latency_page
from nas.latency.range import LatencyRange
from nas.latency.store import LatencySource, describe_validation
from nas.latency.table import LatencyTable
from nas.space.bounds import cost_bounds
from nas.space.choices import choices, size
from nas.space.trellis.trellis import Trellis
from search_spaces.lookup import at_width


def print_space(console: Console, label: str, space: Arch, trellis: Trellis) -> None:
    """Say which space, and what it costs by arithmetic."""
    least, most = cost_bounds(space)
    console.print(
        f"space     {label} · {len(choices(space))} choices · {size(space):.2g} genomes · "
        f"{len(trellis.rows):,} distinct blocks · {space.resolution} px"
    )
    console.print(
        f"costs     MACs {least.macs / 1e6:.3g} to {most.macs / 1e6:.3g} M · "
        f"parameters {least.params / 1e6:.3g} to {most.params / 1e6:.3g} M · peak memory "
        f"{least.peak_memory_bytes / 1024:.3g} to {most.peak_memory_bytes / 1024:.3g} KB"
    )


def summarise(
    found: LatencySource,
    ranges: LatencyRange,
    published: Mapping[str, Mapping[str, float]],
    target_ms: float | None,
) -> dict[str, Any]:
    """What summary.json holds; the figures of a table that was only read are not known."""
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


def print_range(
    console: Console,
    settings: Mapping[str, Any],
    ranges: LatencyRange,
    published: Mapping[str, Mapping[str, float]],
    target_ms: float | None,
) -> None:
    """Print what the space reaches, the target's place in it, and what MACs tell of latency."""
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


def write_page(
    folder: Path,
    title: str,
    found: LatencySource,
    ranges: LatencyRange,
    published: Mapping[str, Mapping[str, float]],
    target_ms: float | None,
) -> None:
    """Write latency.html: predicted against measured, and latency against MACs."""
    networks, table = folder / "networks.csv", found.source
    rows = pd.read_csv(networks).to_dict("records") if networks.exists() else []
    latency_page(
        folder / "latency.html",
        title=title,
        lead=[
            f"{found.name}: {describe_validation(table)}"
            if isinstance(table, LatencyTable)
            else found.name
        ],
        networks=[{str(k): v for k, v in row.items()} for row in rows],
        macs=ranges.costs.macs[:2000].astype(float),
        ms=ranges.ms[:2000],
        rank=ranges.macs_rank,
        published={name: (row["macs"], row["latency_ms"]) for name, row in published.items()},
        target_ms=target_ms,
    )
