"""What `nas.latency` prints and draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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

MAX_DRAWN = 2000  # random networks


@dataclass(frozen=True)
class Findings:
    """What a table tells of its space.

    published     MACs and milliseconds of the published networks inside, by name.
    target_ms     None without a target;  target_name: the published network that it is of.
    """

    latencies: LatencySource
    range: LatencyRange
    published: Mapping[str, Mapping[str, float]]
    target_ms: float | None
    target_name: str | None


def describe_space(label: str, space: Arch) -> str:
    """The space's name and how large it is."""
    return f"{label} · {len(choices(space))} choices · {size(space):.2g} genomes"


def describe_costs(space: Arch) -> str:
    """The multiply-adds and parameters of the space's networks, from the fewest to the most."""
    low, high = cost_bounds(space)
    return (
        f"MACs {low.macs / 1e6:.3g} to {high.macs / 1e6:.3g} M · "
        f"parameters {low.params / 1e6:.3g} to {high.params / 1e6:.3g} M"
    )


def print_space(console: Console, label: str, trellis: Trellis) -> None:
    """Say which space, and what its networks cost by arithmetic."""
    space = trellis.space
    low, high = (cost.peak_memory_bytes / 1024 for cost in cost_bounds(space))
    blocks = f"{len(trellis.rows):,} distinct blocks"
    console.print(f"space     {describe_space(label, space)} · {blocks} · {space.resolution} px")
    console.print(f"costs     {describe_costs(space)} · peak memory {low:.3g} to {high:.3g} KB")


def summarise(findings: Findings) -> dict[str, Any]:
    """What summary.json holds; the figures of a table that was only read are not known."""
    reach, target_ms = findings.range, findings.target_ms
    of_table: dict[str, Any] = {}
    if isinstance(table := findings.latencies.source, LatencyTable):
        of_table = {
            "num_blocks": len(table.blocks),
            "num_keys": table.num_keys,
            "seconds": table.seconds,
            "noisy_blocks": sum(timing.noisy for _, timing in table.blocks),
            "validation": table.validation,
            "warnings": table.warnings(),
            "model": asdict(table.model),
        }
    return {
        "latency": findings.latencies.name,
        **of_table,
        "fastest_ms": reach.fastest[0],
        "slowest_ms": reach.slowest[0],
        "fastest": reach.fastest[1],
        "slowest": reach.slowest[1],
        "macs_spearman": reach.macs_rank,
        "published": findings.published,
        "target_ms": target_ms,
        "share_within_target": None if target_ms is None else reach.share_within(target_ms),
    }


def print_findings(console: Console, findings: Findings) -> None:
    """Print what the space reaches, the target's place in it, and what MACs tell of latency."""
    reach, target_ms = findings.range, findings.target_ms
    console.print(
        f"range     {reach.fastest[0]:.3g} to {reach.slowest[0]:.3g} ms, of all networks of the "
        f"space · MACs rank random networks at Spearman {reach.macs_rank:.3f}"
    )
    if target_ms is not None:
        origin = f" of {findings.target_name}" if findings.target_name else ""
        share = f"{reach.share_within(target_ms):.0%} of random networks are within"
        if target_ms < reach.fastest[0]:
            share = "no network of the space is as fast"
        console.print(f"target    {target_ms:.3g} ms{origin} · {share}")
    for name, row in findings.published.items():
        place = ""
        if target_ms is not None:
            place = f" · {'within' if row['latency_ms'] <= target_ms else 'over'} the target"
        console.print(f"published {name} · {row['latency_ms']:.3g} ms{place}")


def write_page(folder: Path, title: str, findings: Findings) -> None:
    """Write latency.html: predicted against measured, and latency against MACs."""
    path, table = folder / "networks.csv", findings.latencies.source
    networks = pd.read_csv(path).to_dict("records") if path.exists() else []
    lead = findings.latencies.name
    if isinstance(table, LatencyTable):
        lead = f"{lead}: {describe_validation(table)}"
    latency_page(
        folder / "latency.html",
        title=title,
        lead=[lead],
        networks=[{str(k): v for k, v in row.items()} for row in networks],
        macs=findings.range.costs.macs[:MAX_DRAWN].astype(float),
        ms=findings.range.ms[:MAX_DRAWN],
        rank=findings.range.macs_rank,
        published={
            name: (row["macs"], row["latency_ms"]) for name, row in findings.published.items()
        },
        target_ms=findings.target_ms,
    )
