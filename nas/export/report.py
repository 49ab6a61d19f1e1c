"""What `nas.export` prints and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.arch.serialization import dumps
from nas.core.config import config_of
from nas.core.files import write_text
from nas.core.run_folder import environment, write_json, write_yaml
from nas.export.comparison import Whole
from nas.export.model_card import model_card
from nas.export.setup import SPLITS, ExportRun

TABLE_WIDTH = 120
COLUMNS = ("file", "size", "same{what} as float", "test {metric}", "difference", "latency", "x")
LOW_AGREEMENT = 0.95
CHANGED = (
    "the images are not those of the training any more: some of the test images may have been "
    "trained on"
)
CLOSE = 1e-3  # of the largest logit: more than what float32 in another order makes
Rows = Sequence[Mapping[str, Any]]


def print_outcome(console: Console, run: ExportRun, rows: Rows, missing: Mapping[str, str]) -> None:
    """Print the files as a table, and what a user should know of them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    metric, what = (run.task.metric, "") if run.task else ("accuracy", " class")
    for name in (column.format(metric=metric, what=what) for column in COLUMNS):
        table.add_column(name, justify="left" if name == "file" else "right", overflow="fold")
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)
    for label, text in remarks(run, rows, missing):
        console.print(f"{label:<9} {text}")
    console.print(f"wrote     {run.folder}/: {' '.join(row['file'] for row in rows)} model.md ...")


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A file's texts under COLUMNS."""
    return (
        row["file"],
        f"{row['bytes'] / 1e6:.3g} MB",
        f"{row['agreement']:.1%}",
        f"{row['accuracy']:.1%} ± {row['accuracy_se']:.1%}",
        f"{100 * row['gain']:+.1f} ± {100 * row['gain_se']:.1f}",
        f"{row['latency_ms']:.4g} ms{' (noisy)' if row['noisy'] else ''}",
        f"{row['times_float']:.2f}",
    )


def remarks(run: ExportRun, rows: Rows, missing: Mapping[str, str]) -> list[tuple[str, str]]:
    """What to mind: formats without their package, answers that differ, 8 bits that do not pay."""
    found = [
        ("left out", f"{name}: pip install {package}, then give the same command again")
        for name, package in missing.items()
    ]
    if not run.is_same_data:
        found.append(("warning", CHANGED))
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        whole, low = row["precision"] == "float32", row["agreement"] < LOW_AGREEMENT
        if whole and not (row["relative_difference"] or 0) <= CLOSE:  # NaN too
            found.append(("warning", f"{row['file']} answers otherwise: logits are up to "
                          f"{row['largest_difference']:.2g} off"))  # fmt: skip
        if run.task and low:
            text = f"{row['file']} answers otherwise on {1 - row['agreement']:.1%} of what it says"
            found.append(("warning", text))
        elif low and (whole or not run.settings.qat):
            advice = "" if whole else ": qat=true trains on with its rounding"
            text = f"{row['file']} gives {1 - row['agreement']:.1%} of the images another class"
            found.append(("warning" if whole else "advice", text + advice))
        other = by_name.get(row["name"].split("_int8")[0])  # of the same runtime
        if not whole and other and is_slower(row, other):
            text = f"{row['file']} is slower than {other['file']} here{_reason(run, row)}"
            found.append(("warning", text))
    return found


def is_slower(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a file's latency is told from the other's: their intervals are apart."""
    return bool(row["latency_interval_ms"][0] > other["latency_interval_ms"][1])


def _reason(run: ExportRun, row: Mapping[str, Any]) -> str:
    known = row["file"].endswith(".onnx") and "hswish" in arch_string(run.arch)
    return ": ONNX Runtime has no 8-bit h-swish" if known else ""


def write_results(
    run: ExportRun,
    rows: Rows,
    missing: Mapping[str, str],
    whole: Whole,
) -> dict[str, Any]:
    """Write summary.json, environment.json, classes.csv and model.md; returns the summary."""
    by_class, costs = whole.by_class, cost(run.arch)
    told = {key: json.loads(run.facts[key]) for key in ("classes", "mean", "std", "range")}
    summary = {
        "name": run.files.name,
        "arch": arch_string(run.arch),
        "id": network_id(run.arch),
        "resolution": run.arch.resolution,
        "macs": costs.macs,
        "params": costs.params,
        "from": str(run.files.network),
        **({"metric": run.task.metric} if run.task else {}),
        "mean": told["mean"],  # by which a training from weights_qat.pt normalises
        "std": told["std"],
        "accuracy": whole.accuracy,
        "accuracy_interval": list(whole.interval),
        "images": {part: len(getattr(run.data, part)) for part in SPLITS},
        "same_data": run.is_same_data,
        "batch": run.settings.batch,
        "preprocess": run.settings.preprocess,
        "missing": dict(missing),
        "rows": list(rows),
    }
    write_json(run.new / "facts.json", told | {"side": run.arch.resolution})
    write_text(run.new / "classes.csv", by_class.to_csv(index=False))
    write_text(run.new / "network.yaml", dumps(run.arch))
    write_yaml(run.new / "config.yaml", config_of(run.settings))
    where = environment(seed=run.settings.seed, threads=run.settings.threads)
    write_json(run.new / "environment.json", where)
    write_json(run.new / "summary.json", summary)
    write_text(run.new / "model.md", model_card(run, summary, by_class, where))
    return summary
