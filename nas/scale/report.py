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
from nas.core.config import config_of
from nas.core.files import write_all, write_text
from nas.core.run_folder import environment, write_json, write_yaml
from nas.scale.family import Member, PhiSolution
from nas.scale.fit.result import Fit
from nas.scale.page import Rows, SearchFront, Summary, scale_page
from nas.scale.setup import ScaleRun

TABLE_WIDTH = 150  # characters; in a narrower window or a pipe lines are long, and none is cut
REPORTED_ROUNDING = 1.1  # cost over 2^phi from which on the report says what rounding did
MIRRORED_DOWN = (
    "phi below 0 mirrors a rule that grows networks, which is known to make poor small ones (Han "
    'et al. 2020, "Model Rubik\'s Cube": in tiny networks resolution and depth matter more than '
    "width): give fit.phi=-1 in the place of coefficients= or rule= to fit how to shrink; or "
    "search at that size"
)
MIRRORED_UP = (
    "phi above 0 mirrors a rule that was fitted to shrink the baseline: drop fit.phi=-1 to grow it"
)
COLUMNS = (
    *("family", "depth", "blocks", "width", "pixels", "MACs", "x", "2^phi", "parameters"),
    *("memory", "latency", "x"),
)
SCORE_COLUMNS = ("accuracy", "test")


def print_family(console: Console, rows: Rows) -> None:
    """Print the family as a table, exact beside rounded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    trained = any("accuracy" in row for row in rows)
    for name in COLUMNS + SCORE_COLUMNS if trained else COLUMNS:
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


def describe_fit(fit: Fit) -> list[tuple[str, str]]:
    """Lines with their labels: the fitted triple, and what the longer trainings say of it."""
    shown = [
        f"{name} {getattr(fit, name):.3f} ({low:.3f} to {high:.3f})"
        for name, (low, high) in fit.intervals.items()
    ]
    shown.append(f"from the first scores of {fit.num_points} networks")
    longer = "after longer trainings " if fit.confirmation else ""
    return [("fitted", " · ".join(shown)), ("verdict", f"{longer}{fit.verdict}")]


def remarks(rows: Rows, solution: PhiSolution | None, made_for: int) -> list[tuple[str, str]]:
    """Lines with their labels: what rounding did to the cost, to a budget, and what to beware.

    The rule was made to grow networks where `made_for` is 1, to shrink them where it is -1.
    """

    def deviation(row: Mapping[str, Any]) -> float:
        return abs(math.log(row["macs_ratio"] / row["two_to_phi"]))

    lines, off = [], max(rows, key=deviation)
    if deviation(off) > math.log(REPORTED_ROUNDING):
        text = (
            f"{off['name']} costs {off['macs_ratio']:.3f} times the multiply-adds of the baseline, "
            f"where its factors promise {off['macs_promised']:.3f} and 2^phi is "
            f"{off['two_to_phi']:.3f}"
        )
        lines.append(("rounding", text))
    if solution:
        text = (
            f"phi={solution.member.phi:g}: {solution.price:.4g} of {solution.budget:.4g}, rounding "
            f"leaves {solution.slack:.1%}; the next network, phi={solution.next_phi:g}, has "
            f"{solution.next_price:.4g}"
        )
        lines.append(("solved", text))
    if any(row["phi"] * made_for < 0 for row in rows):
        lines.append(("warning", MIRRORED_DOWN if made_for > 0 else MIRRORED_UP))
    return lines


def write_results(
    run: ScaleRun, summary: Summary, members: Sequence[Member], fit: Fit | None
) -> None:
    """Write all that the command leaves, summary.json last."""
    folder, rows = run.folder, summary["family"]
    write_yaml(folder / "config.yaml", config_of(run.settings))
    made_with = environment(seed=run.settings.seed, latency=run.timer.describe())
    write_json(folder / "environment.json", made_with)
    write_text(folder / "family.csv", pd.DataFrame(rows).to_csv(index=False))
    named = zip(members, rows, strict=True)
    texts = {member.name: f"{_comment(row)}\n{dumps(member.arch)}" for member, row in named}
    write_all(folder / "family", ".yaml", texts)
    search = newest_front(folder.parents[1] / "search")
    scale_page(folder / "scale.html", summary, search, fit)
    write_json(folder / "summary.json", summary)


def newest_front(searches: Path) -> SearchFront | None:
    """The front of the search that ended last; None where there is none."""
    paths = sorted(searches.glob("*/pareto.csv"), key=lambda path: path.stat().st_mtime)
    if not paths or (front := pd.read_csv(paths[-1])).empty:
        return None
    try:
        about = json.loads((paths[-1].parent / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        about = {}  # a search that was stopped
    return SearchFront(paths[-1].parent.name, front, about)


def _comment(row: Mapping[str, Any]) -> str:
    latency = f", {row['latency_ms']:.4f} ms" if row["latency_ms"] else ""
    return (
        f"# {row['macs_ratio']:.3f} times the multiply-adds of the baseline: {row['macs']:,} MACs, "
        f"{row['params']:,} parameters{latency}, id {row['id']}"
    )
