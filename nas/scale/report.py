"""What `nas.scale` prints and leaves: the family's table, its files, its page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from nas.arch.serialization import dumps
from nas.core.files import write_text
from nas.core.run_folder import environment, write_json, write_yaml
from nas.scale.family import Member, PhiSolution
from nas.scale.fit.fit import Fit
from nas.scale.page import Search, scale_page

BELOW = (
    "phi below 0 mirrors a rule that grows networks, which is known to make poor small ones (Han "
    'et al. 2020, "Model Rubik\'s Cube": in tiny networks resolution and depth matter more than '
    "width): "
    "fit.phi=-1 fits how to shrink; or search at that size"
)
ABOVE = (
    "phi above 0 mirrors a rule that was fitted to shrink the baseline: drop fit.phi=-1 to grow it"
)
ROUNDED = 1.1  # times two to the phi: from there on it is said what rounding did


def print_family(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The family as a table, exact beside rounded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ["family", "depth", "blocks", "width", "pixels", "MACs", "x", "2^phi", "parameters",
             "memory", "latency", "x"]  # fmt: skip
    trained = any("accuracy" in row for row in rows)
    for name in names + ["accuracy", "test"] * trained:
        table.add_column(name, justify="left" if name == "family" else "right", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row), *(_scores(row) if trained else ()))
    console.print(table)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row["name"]),
        f"{row['depth_exact']:.3f} → {row['depth']:.3f}",
        str(row["num_blocks"]),
        f"{row['width_exact']:.3f} → {row['width']:.3f}",
        f"{row['resolution_exact']:.1f} → {row['resolution']}",
        f"{row['macs'] / 1e6:.4g} M",
        f"{row['macs_ratio']:.3f}",
        f"{row['two_to_phi']:.3f}",
        f"{row['params'] / 1e6:.4g} M",
        f"{row['peak_memory_bytes'] / 1024:,.0f} KB",
        f"{row['latency_ms']:.4g} ms" if row["latency_ms"] else "",
        f"{row['latency_ratio']:.3f}" if row["latency_ratio"] else "",
    )


def _scores(row: Mapping[str, Any]) -> tuple[str, str]:
    if "accuracy" not in row:
        return "failed", ""
    return f"{row['accuracy']:.1%} ± {row['accuracy_se']:.1%}", f"{row['test_accuracy']:.1%}"


def remarks(
    rows: Sequence[Mapping[str, Any]], solved: PhiSolution | None, made_for: int
) -> list[tuple[str, str]]:
    """Lines with their labels: what rounding did to the cost, to a budget, and what to beware.

    `made_for` is 1 where the rule was made to grow networks, -1 where to shrink them.
    """
    found = []
    off = max(rows, key=lambda row: abs(math.log(row["macs_ratio"] / row["two_to_phi"])))
    if abs(math.log(off["macs_ratio"] / off["two_to_phi"])) > math.log(ROUNDED):
        text = (
            f"{off['name']} costs {off['macs_ratio']:.3f} times the multiply-adds of the baseline, "
            f"where its factors promise {off['macs_promised']:.3f} and 2^phi is "
            f"{off['two_to_phi']:.3f}"
        )
        found.append(("rounding", text))
    if solved:
        text = (
            f"phi={solved.member.phi:g}: {solved.price:.4g} of {solved.budget:.4g}, rounding "
            f"leaves {solved.slack:.1%}; the next network, phi={solved.next_phi:g}, has "
            f"{solved.next_price:.4g}"
        )
        found.append(("solved", text))
    if any(row["phi"] * made_for < 0 for row in rows):
        found.append(("warning", BELOW if made_for > 0 else ABOVE))
    return found


def write(
    folder: Path,
    *,
    config: Mapping[str, Any],
    made_with: Mapping[str, Any],
    about: Mapping[str, Any],
    members: Sequence[Member],
    rows: Sequence[Mapping[str, Any]],
    fit: Fit | None,
) -> None:
    """Write all that the command leaves, summary.json last.

    `about` are the figures of summary.json beside the family; `made_with` what environment.json
    says beside the machine.
    """
    write_yaml(folder / "config.yaml", config)
    write_json(folder / "environment.json", environment(**made_with))
    write_text(folder / "family.csv", pd.DataFrame(list(rows)).to_csv(index=False))
    (folder / "family").mkdir(exist_ok=True)
    written = {folder / "family" / f"{member.name}.yaml" for member in members}
    for member, row in zip(members, rows, strict=True):
        write_text(folder / "family" / f"{member.name}.yaml", _described(member, row))
    for stale in set((folder / "family").glob("*.yaml")) - written:
        stale.unlink()
    search = folder.parents[1] / "search"
    scale_page(folder / "scale.html", about, rows, newest_front(search), fit)
    write_json(folder / "summary.json", {**about, "family": list(rows)})


def newest_front(searches: Path) -> Search | None:
    """The front of the search that ended last; None where there is none."""
    paths = sorted(searches.glob("*/pareto.csv"), key=lambda path: path.stat().st_mtime)
    if not paths or (front := pd.read_csv(paths[-1])).empty:
        return None
    try:
        about = json.loads((paths[-1].parent / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        about = {}  # a search that was stopped
    return Search(paths[-1].parent.name, front, about)


def _described(member: Member, row: Mapping[str, Any]) -> str:
    """The network as YAML below a comment with what it is."""
    latency = f", {row['latency_ms']:.4f} ms" if row["latency_ms"] else ""
    return (
        f"# {row['macs_ratio']:.3f} times the multiply-adds of the baseline: {row['macs']:,} MACs, "
        f"{row['params']:,} parameters{latency}, id {row['id']}\n{dumps(member.arch)}"
    )
