"""The front on each axis: what is drawn of it, how to choose, and the table beside the chart."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import inf, isfinite
from typing import Any, cast

import numpy as np
import pandas as pd

from nas.core.figures import as_list
from nas.report.frames import trial_frame
from nas.report.kept_run import KeptRun, metric_of, origin_of
from nas.report.metrics import (
    AXES,
    TIMES,
    Floats,
    Metric,
    accuracy,
    digits,
    is_noise,
    name_of,
    percent,
    values,
)
from nas.stats.pareto import best_under, knee, non_dominated

LOG_FROM = 5.0  # an axis whose largest cost is over this many times its smallest is logarithmic
GAIN = (
    "gain: over the next cheaper network; ≈ less than two standard errors, as if the images were "
    "not the same. A network's button draws it."
)


def front(run: KeptRun, axis: Metric) -> pd.DataFrame:
    """The networks that no other beats on that axis, cheapest first; their places count from 1."""
    points = run.trained[[run.ranked_by, axis.column]].to_numpy(float)
    rows = run.trained[non_dominated(points, (True, False))]
    return rows.sort_values([axis.column, "number"], kind="stable")


def published(run: KeptRun) -> pd.DataFrame:
    """The networks that the run compares with."""
    return trial_frame(run.summary.get("published", []))


def axis_view(runs: Sequence[KeptRun], axis: Metric) -> dict[str, Any]:
    """Everything of one axis but its networks; {} if nothing has a known cost there.

    name, label, unit, scale   of the metric
    log, range, accuracies   kind and ends of the chart's axes; `below` counts what is under it
    stairs   the best accuracy within each budget, a line a run
    costs    from the cheapest network of a front to the dearest
    targets  of each run, of latencies only
    """
    parts = [part for run in runs for part in (run.evaluated, published(run))]
    costs = np.concatenate([values(part, axis) for part in parts])
    targets = [run.summary.get("target_ms") if axis in TIMES else None for run in runs]
    shown = np.append(costs[np.isfinite(costs)], [t for t in targets if t is not None])
    if not np.isfinite(costs).any():
        return {}
    fronts = [front(run, axis) for run in runs]
    log = bool(0 < LOG_FROM * shown.min() < shown.max())
    accuracies, below = _accuracies(runs, fronts)
    known = np.concatenate([values(rows, axis) for rows in fronts])
    return {
        "name": axis.column,
        "label": axis.label,
        "unit": axis.unit,
        "scale": axis.scale,
        "log": log,
        "range": _padded(np.log10(shown) if log else shown),
        "accuracies": accuracies,
        "below": below,
        "stairs": [_stairs(rows, axis, float(shown.max())) for rows in fronts],
        "costs": [float(known.min()), float(known.max())] if len(known) else None,
        "targets": targets,
    }


def _stairs(rows: pd.DataFrame, axis: Metric, end: float) -> dict[str, list[float]]:
    """The best accuracy within each budget: right along a budget, then up at the next point."""
    x, y = values(rows, axis).tolist(), percent(rows).tolist()
    return {"x": [*x, end][: len(x) * 2], "y": [*y, *y[-1:]]}


def _accuracies(runs: Sequence[KeptRun], fronts: Sequence[pd.DataFrame]) -> tuple[list[float], int]:
    """In percent; what would take the chart's lower half for itself is left below and counted."""
    trained = np.concatenate([percent(run.trained) for run in runs])
    known = np.concatenate([percent(rows) for rows in [*fronts, *map(published, runs)]])
    drawn = trained
    if len(known) and np.ptp(known):
        drawn = trained[trained >= 2 * known.min() - known.max()]
    bars = [100 * sign * rows["accuracy_se"].fillna(0) + percent(rows)
            for rows in fronts for sign in (-1, 1)]  # fmt: skip
    shown = np.concatenate([known, drawn, *bars])
    ends = _padded(shown) if len(shown) else [0.0, 100.0]
    return ends, int((trained < ends[0]).sum())


def _padded(numbers: Floats) -> list[float]:
    """The range of `numbers` [n] with some room at both ends."""
    low, high = float(numbers.min()), float(numbers.max())
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return [low - pad, high + pad]


def counts(run: KeptRun) -> list[str]:
    """What became of the trials; and, if nothing was trained, why."""
    trials = run.tables["trials"]
    if not (run.folder / "trials.csv").is_file():
        asked = f" of {run.summary['asked']} trials" if "asked" in run.summary else ""
        return [f"There is no trials.csv here: {len(run.trained)} networks{asked} are drawn."]
    ends = ("infeasible", "pruned", "failed", "duplicate")
    words = [f"{(trials['state'] == end).sum()} {end}" for end in ends]
    lines = [f"{len(trials)} trials: {len(run.trained)} {origin_of([run])}, {', '.join(words)}."]
    if not len(run.trained):
        lines.append("No network was trained to the end, so there is no front to choose from.")
        reasons = run.evaluated["reason"].value_counts().drop("", errors="ignore")
        lines += [f"{count} × {reason}" for reason, count in reasons.head(3).items()]
    return lines


def advice(run: KeptRun, axis: Metric) -> str:
    """How to choose: the best within the target, the cheapest not told apart from it, the knee."""
    return as_list(_advice(front(run, axis), run, axis))


def _advice(rows: pd.DataFrame, run: KeptRun, axis: Metric) -> list[str]:
    target = run.summary.get("target_ms") if axis in TIMES else None
    records, costs = _records(rows), values(rows, axis)
    if not records:
        return [f"No trained network has a known {axis.label}: there is no front on this axis."]
    points = [
        f"no. {place} with {accuracy(row)} % at {digits(cost)} {axis.unit}"
        for place, (row, cost) in enumerate(zip(records, costs, strict=True), 1)
    ]
    best = best_under(rows[run.ranked_by], costs, inf if target is None else target)
    if best is None:
        return [f"No trained network is within {target:.3g} ms; the fastest is {points[0]}."]
    within = "" if target is None else f" within {target:.3g} ms"
    lines = [f"Most accurate{within}: {points[best]}."]
    near = next(i for i, row in enumerate(records) if i == best or is_noise(row, records[best]))
    if near < best:
        lines.append(f"Cheapest that is less than two standard errors below it: {points[near]}.")
    bend = knee(rows["accuracy"], costs) or 0
    return [*lines, f"Best trade-off (the knee of the front): {points[bend]}."]


def table(run: KeptRun, axis: Metric) -> str:
    """The front as HTML, cheapest first; what a point gains is over the row above it."""
    rows = _records(front(run, axis))
    if not rows:
        return ""
    known = [m for m in AXES if any(isfinite(row[m.column]) for row in rows)]
    head = [*(f"{m.label} ({m.unit})" for m in known), f"gain (points/{axis.unit})"]
    metric = metric_of([run])
    head = ["no.", "network", f"{metric} (%)", "test (%)", *head]
    cells = "".join(
        f'<th scope="col"><button class="sort">{escape(name)}</button></th>' for name in head
    )
    winner = (run.summary.get("winner") or {}).get("id")
    body = "".join(
        _line(place, row, known, gain, row["id"] == winner)
        for place, (row, gain) in enumerate(zip(rows, _gains(rows, axis), strict=True), 1)
    )
    caption = f"The front of {metric} and {axis.label}, cheapest first; {GAIN}"
    return (
        f'<div class="wide"><table><caption><span>{escape(caption)}</span></caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _line(
    place: int, row: dict[str, Any], known: Sequence[Metric], gain: str, is_winner: bool
) -> str:
    star = ' <span title="the winner">★</span>' if is_winner else ""
    test = digits(100 * row["test_accuracy"]) if isfinite(row["test_accuracy"]) else "–"
    costs = [digits(row[m.column] / m.scale) for m in known]
    cells = "".join(f"<td>{escape(text)}</td>" for text in (accuracy(row), test, *costs, gain))
    name = escape(name_of(row))
    key = escape(str(row["id"]), quote=True)
    return (
        f'<tr data-id="{key}"><td>{place}{star}</td>'
        f'<td><button class="show">{name}</button></td>{cells}</tr>'
    )


def _gains(rows: Sequence[dict[str, Any]], axis: Metric) -> list[str]:
    """Points of accuracy a unit of cost, over the row before."""
    gains = ["–"]
    for cheap, dear in pairwise(rows):
        cost = (dear[axis.column] - cheap[axis.column]) / axis.scale
        gain = 100 * (dear["accuracy"] - cheap["accuracy"]) / max(cost, 1e-12)
        gains.append(f"{'≈ ' * is_noise(cheap, dear)}{gain:,.2f}")
    return gains


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], frame.to_dict("records"))
