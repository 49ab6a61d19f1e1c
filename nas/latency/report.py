"""What `nas.latency` prints, and its summary."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console

from nas.latency.range import Findings
from nas.latency.table import LatencyTable
from nas.space.bounds import cost_bounds
from nas.space.choices import choices, size
from nas.space.trellis.trellis import Trellis


def print_space(console: Console, label: str, trellis: Trellis) -> None:
    """Print the space's size, and what its networks cost, from the least to the most."""
    space = trellis.space
    low, high = cost_bounds(space)
    console.print(
        f"space     {label} · {len(choices(space))} choices · {size(space):.2g} genomes · "
        f"{len(trellis.rows):,} distinct blocks · {space.resolution} px"
    )
    console.print(
        f"costs     MACs {low.macs / 1e6:.3g} to {high.macs / 1e6:.3g} M · "
        f"parameters {low.params / 1e6:.3g} to {high.params / 1e6:.3g} M · peak memory "
        f"{low.peak_memory_bytes / 1024:.3g} to {high.peak_memory_bytes / 1024:.3g} KB"
    )


def summarise(findings: Findings) -> dict[str, Any]:
    """What summary.json holds; less of a table that was not built here."""
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
    """Print the range of the space, the target's place in it, and the published networks'."""
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
