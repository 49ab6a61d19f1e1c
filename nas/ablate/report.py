"""What `nas.ablate` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from nas.ablate.page import ablation_page
from nas.ablate.setup import AblateRun
from nas.arch.serialization import dumps
from nas.core.config import config_of
from nas.core.files import write_all, write_text
from nas.core.run_folder import environment, write_json, write_yaml

TABLE_WIDTH = 150  # characters; in a narrower window or a pipe lines are long, and none is cut
COLUMNS = ("network", "test accuracy", "difference in points (95 %)")
COSTS = ("latency", "x", "MACs", "x", "parameters", "x")
Rows = Sequence[Mapping[str, Any]]


def print_rows(console: Console, rows: Rows) -> None:
    """Print the network and its variants as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    measured = rows[0]["latency_ms"] is not None
    for name in (*COLUMNS, *(COSTS if measured else COSTS[2:])):
        table.add_column(name, justify="left" if name == "network" else "right", overflow="fold")
    for row in rows:
        costs = _costs(row)
        table.add_row(row["words"], *_scores(row), *(costs if measured else costs[2:]))
    console.print(table)


def _scores(row: Mapping[str, Any]) -> tuple[str, str]:
    if "reason" in row:
        return "failed", ""
    return f"{row['accuracy']:.1%}", "" if row["name"] == "network" else _points(row)


def _points(row: Mapping[str, Any]) -> str:
    ends = (row["difference"], row["difference_low"], row["difference_high"])
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * end for end in ends))


def _costs(row: Mapping[str, Any]) -> tuple[str, ...]:
    ms = row["latency_ms"]
    return (
        f"{ms:.4g} ms{' (noisy)' if row['noisy'] else ''}" if ms else "",
        f"{row['latency_ratio']:.2f}" if ms else "",
        f"{row['macs'] / 1e6:.4g} M",
        f"{row['macs_ratio']:.2f}",
        f"{row['params'] / 1e6:.4g} M",
        f"{row['params_ratio']:.2f}",
    )


def describe_verdict(rows: Rows) -> list[tuple[str, str]]:
    """Lines with their labels: which variants are less accurate, which more, which neither."""
    variants = [row for row in rows[1:] if "reason" not in row]
    worse = [row["name"] for row in variants if row["difference_high"] < 0]
    better = [row["name"] for row in variants if row["difference_low"] > 0]
    unclear = [row["name"] for row in variants if row["name"] not in (*worse, *better)]
    lines = [("worse", ", ".join(worse))] if worse else []
    lines += [("better", ", ".join(better))] if better else []
    more = "(more seeds= or a longer budget= may tell)"
    return lines + ([("unclear", f"{', '.join(unclear)} {more}")] if unclear else [])


def write_results(run: AblateRun, summary: Mapping[str, Any]) -> None:
    """Write all that the command leaves, summary.json last."""
    folder, rows = run.folder, summary["rows"]
    write_yaml(folder / "config.yaml", config_of(run.settings))
    made_with = environment(seed=run.settings.seed, latency=run.timer.describe())
    write_json(folder / "environment.json", made_with)
    table = pd.DataFrame(rows).drop(columns="accuracies", errors="ignore")
    write_text(folder / "ablation.csv", table.to_csv(index=False))
    write_all(folder / "networks", ".yaml", {v.name: dumps(v.arch) for v in run.variants})
    ablation_page(folder / "ablation.html", summary)
    write_json(folder / "summary.json", summary)
