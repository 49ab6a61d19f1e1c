"""The Pareto page: what is drawn and said; pareto_page.css and .js say how it looks and reacts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import floor, hypot, inf, isfinite, log10, nan
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from nas.core.figures import as_list, write_page
from nas.stats.pareto import best_under, knee, non_dominated

Row = dict[str, Any]
Floats = NDArray[np.float64]


class Metric(NamedTuple):
    """A cost that the page shows: its column, its name, its unit and how much one unit is."""

    column: str
    label: str
    unit: str
    scale: float


LATENCY, MACS = Metric("latency_ms", "latency", "ms", 1), Metric("macs", "MACs", "M", 1e6)
PARAMS = Metric("params", "parameters", "M", 1e6)
MEMORY = Metric("peak_memory_bytes", "peak memory", "KiB", 1024)
MEASURED = Metric("measured_ms", "measured whole", "ms", 1)
SECONDS = Metric("seconds", "judged in", "s", 1)
AXES = (LATENCY, MACS, PARAMS, MEMORY)
LOG_FROM = 5.0  # an axis whose largest cost is over this many times its smallest is logarithmic


class Search(NamedTuple):
    """What the page is about: rows by what became of them, and what was looked for."""

    trained: pd.DataFrame
    rejected: pd.DataFrame
    published: pd.DataFrame
    target_ms: float | None
    winner_id: str | None
    ranked_by: str


def pareto_page(
    trials: pd.DataFrame,
    path: Path,
    *,
    published: pd.DataFrame | None,
    target_ms: float | None,
    winner_id: str | None,
    title: str,
    subtitle: str,
    notes: Sequence[str] = (),
    ranked_by: str = "accuracy",
) -> None:
    """Write the page of a search to `path`, whole or not at all.

    `trials` holds number, id, state (complete, infeasible, pruned, failed, duplicate), accuracy
    and accuracy_se (fractions), latency_ms, macs, params, peak_memory_bytes, arch (stages joined
    by " | "), name, seconds, reason; an unknown number is NaN.  `published` has the same columns:
    reference networks, never part of the front.  `winner_id` is the network to star, `ranked_by`
    the column of which the front has the best within each cost.
    """
    columns = ["accuracy", "accuracy_se", "seconds", *(axis.column for axis in AXES)]
    numbers = dict.fromkeys(columns, float)
    published = (trials.iloc[:0] if published is None else published).astype(numbers)
    trials = trials.astype(numbers)
    search = Search(
        trials[(trials["state"] == "complete") & np.isfinite(trials["accuracy"])],
        trials[trials["state"].isin(["infeasible", "pruned", "failed"])],
        published[np.isfinite(published["accuracy"])],
        target_ms,
        winner_id,
        ranked_by,
    )
    files = {key: f"front/{i:02d}.yaml" for i, key in enumerate(_front(search, LATENCY)["id"], 1)}
    search = search._replace(trained=search.trained.assign(file=search.trained["id"].map(files)))
    views = [view for axis in AXES if (view := _view(search, axis))]
    summary = "".join(f"<p>{escape(line)}</p>" for line in _summary(trials, search))
    buttons = "".join(f'<button value="{v["name"]}">{v["label"]}</button>' for v in views)
    sections = "".join(f'<section id="{v["name"]}">{v.pop("html")}</section>' for v in views)
    main = f'{summary}<nav>accuracy against {buttons}</nav><div id="chart"></div>{sections}'
    script, style = (
        Path(__file__).with_suffix(end).read_text(encoding="utf-8") for end in (".js", ".css")
    )
    write_page(path, title, [subtitle], notes, main=main, data=views, script=script, style=style)


def _view(search: Search, axis: Metric) -> Row:
    """Everything of one axis: names, target, figure and the HTML below it; {} if it has no data."""
    parts = (search.trained, search.published, search.rejected)
    costs = np.concatenate([_x(part, axis) for part in parts])
    if not np.isfinite(costs).any():
        return {}
    target = search.target_ms if axis is LATENCY else None
    shown = np.append(costs[np.isfinite(costs)], [] if target is None else target)
    front = _front(search, axis)
    places = {key: place for place, key in enumerate(front["id"], 1)}
    search = search._replace(trained=search.trained.assign(place=search.trained["id"].map(places)))
    return {
        "name": axis.column,
        "label": axis.label,
        "target": target,
        "figure": _figure(search, axis, _front(search, axis), shown),
        "html": as_list(_advice(front, axis, target, search.ranked_by))
        + _table(front, axis, search.winner_id),
    }


def _front(search: Search, axis: Metric) -> pd.DataFrame:
    """The networks that no other beats on that axis, cheapest first; their places count from 1."""
    points = search.trained[[search.ranked_by, axis.column]].to_numpy(float)
    front = search.trained[non_dominated(points, (True, False))]
    return front.sort_values([axis.column, "number"], kind="stable")


def _figure(search: Search, axis: Metric, front: pd.DataFrame, shown: Floats) -> Row:
    """The plotly figure of one axis, as plain JSON data; the page styles each trace by its meta."""
    rejected = search.rejected[np.isfinite(_x(search.rejected, axis))]
    winner = search.trained[search.trained["id"] == search.winner_id].iloc[:1]
    errors = (100 * front["accuracy_se"]).tolist()
    accuracies = _accuracy_range(search, front)
    below = (_y(search.trained) < accuracies[0]).sum()
    accuracy = f"accuracy (%), {below} trained below" if below else "accuracy (%)"
    traces = [
        _dots(rejected, axis, "rejected", "not trained to the end"),
        _dots(search.trained, axis, "trained", "trained", marker=_tones(search.trained, axis)),
        _staircase(front, axis, shown.max()),
        _dots(front, axis, "front", "on the front", error_y_array=errors),
        _dots(search.published, axis, "published", "to compare with"),
        _dots(winner, axis, "winner", "winner"),
    ]
    log = bool(0 < LOG_FROM * shown.min() < shown.max())
    costs = _padded(np.log10(shown) if log else shown)
    figure = go.Figure([trace for trace in traces if trace.x], {"template": "none"})
    figure.update_xaxes(title_text=f"{axis.label} ({axis.unit})", range=costs)
    figure.update_xaxes(type="log" if log else "linear")
    figure.update_yaxes(title_text=accuracy, range=accuracies)
    return cast(Row, json.loads(figure.to_json()))


def _staircase(front: pd.DataFrame, axis: Metric, end: float) -> go.Scatter:
    """The best accuracy within each budget: right along a budget, then up at the next point."""
    x, y = _x(front, axis).tolist(), _y(front).tolist()
    x, y = [*x, float(end)][: len(x) * 2], [*y, *y[-1:]]
    return go.Scatter(x=x, y=y, mode="lines", meta="staircase", name="Pareto front")


def _dots(rows: pd.DataFrame, axis: Metric, kind: str, name: str, **more: Any) -> go.Scatter:
    """One marker a row, with the network's name and, on hover, everything known about it."""
    texts = {"text": [*map(_name, _rows(rows))], "hovertext": [*map(_hover, _rows(rows))]}
    more |= {"x": _x(rows, axis).tolist(), "y": _y(rows).tolist()} | texts
    ids = rows["id"].tolist()
    return go.Scatter(mode="markers", meta=kind, name=name, customdata=ids, **more)


def _accuracy_range(search: Search, front: pd.DataFrame) -> list[float]:
    """In percent; what would take the chart's lower half for itself is left below it."""
    known, trained = np.append(_y(front), _y(search.published)), _y(search.trained)
    if len(known) and np.ptp(known):
        trained = trained[trained >= 2 * known.min() - known.max()]
    shown = np.append(known, trained)
    return _padded(shown) if len(shown) else [0.0, 100.0]


def _padded(values: Floats) -> list[float]:
    """The range of `values` [n] with some room at both ends."""
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return [low - pad, high + pad]


def _tones(trained: pd.DataFrame, axis: Metric) -> Row:
    """Colours by the logarithm of MACs; of latency where MACs are the axis."""
    tone = LATENCY if axis is MACS and np.isfinite(_x(trained, LATENCY)).any() else MACS
    title = f"{tone.label}<br>({tone.unit})"
    return {"color": np.log10(_x(trained, tone)).tolist(), "colorbar": {"title": {"text": title}}}


def _summary(trials: pd.DataFrame, search: Search) -> list[str]:
    """What became of the trials; and, if nothing was trained, why."""
    ends = ("infeasible", "pruned", "failed", "duplicate")
    counts = [f"{(trials['state'] == end).sum()} {end}" for end in ends]
    lines = [f"{len(trials)} trials: {len(search.trained)} trained, {', '.join(counts)}."]
    if not len(search.trained):
        lines.append("No network was trained to the end, so there is no front to choose from.")
        reasons = search.rejected["reason"].dropna().value_counts().drop("", errors="ignore")
        lines += [f"{count} × {reason}" for reason, count in reasons.head(3).items()]
    return lines


def _advice(front: pd.DataFrame, axis: Metric, target: float | None, ranked_by: str) -> list[str]:
    """How to choose: the best within the target, the cheapest not told apart from it, the knee."""
    rows, costs = _rows(front), _x(front, axis)
    if not rows:
        return [f"No trained network has a known {axis.label}: there is no front on this axis."]
    points = [
        f"no. {rank} with {_accuracy(row)} % at {_digits(cost)} {axis.unit}"
        for rank, (row, cost) in enumerate(zip(rows, costs, strict=True), 1)
    ]
    best = best_under(front[ranked_by], costs, inf if target is None else target)
    if best is None:
        return [f"No trained network is within {target:.3g} ms; the fastest is {points[0]}."]
    within = "" if target is None else f" within {target:.3g} ms"
    lines = [f"Most accurate{within}: {points[best]}."]
    near = next(i for i, row in enumerate(rows) if i == best or _is_noise(row, rows[best]))
    if near < best:
        lines.append(f"Cheapest that is less than two standard errors below it: {points[near]}.")
    bend = knee(front["accuracy"], costs) or 0
    return [*lines, f"Best trade-off (the knee of the front): {points[bend]}."]


def _table(front: pd.DataFrame, axis: Metric, winner_id: str | None) -> str:
    """The front, cheapest first; what a point gains is over the row above it."""
    rows = _rows(front)
    gains = 100 * np.diff(front["accuracy"]) / np.maximum(np.diff(_x(front, axis)), 1e-12)
    noise = ["≈ " * _is_noise(*pair) for pair in pairwise(rows)]
    gained = ["–", *(f"{mark}{gain:,.2f}" for mark, gain in zip(noise, gains, strict=True))]
    archs = [f"<details><summary>{_name(row)}</summary>{_arch(row)}</details>" for row in rows]
    table = pd.DataFrame(
        {
            "no.": [f"{i}{' ★' * (row['id'] == winner_id)}" for i, row in enumerate(rows, 1)],
            "architecture": archs,
            "accuracy (%)": [_accuracy(row) for row in rows],
            **{f"{m.label} ({m.unit})": [*map(_digits, _x(front, m))] for m in AXES},
            f"gain (points/{axis.unit})": gained[: len(rows)],
        }
    )
    with pd.option_context("display.max_colwidth", None):
        return f"<div>{table.to_html(index=False, escape=False, border=0)}</div>" if rows else ""


def _hover(row: Row) -> str:
    """Everything known about a network, with units, one thing a line."""
    place = f"no. {row['place']:.0f} on the front: " if isfinite(row.get("place", nan)) else ""
    lines = [f"<b>{place}{_name(row)}</b>"]
    lines += [f"accuracy {_accuracy(row)} %"] if isfinite(row["accuracy"]) else []
    for column, label, unit, scale in (LATENCY, MEASURED, *AXES[1:], SECONDS):
        if isfinite(row.get(column, nan)):
            lines.append(f"{label} {_digits(row[column] / scale)} {unit}")
    lines += [escape(row["reason"])] if isinstance(row["reason"], str) and row["reason"] else []
    return "<br>".join([*lines, _arch(row)])


def _arch(row: Row) -> str:
    """The reading form, the id and, of the front of latency, the file."""
    file = f", {row['file']}" if isinstance(row.get("file"), str) else ""
    form = escape(str(row["arch"])).split(" | ")
    return "<br>".join([*form, f"id {escape(str(row['id']))}{file}"])


def _name(row: Row) -> str:
    known = isinstance(row["name"], str) and row["name"]
    return escape(row["name"]) if known else f"network {escape(str(row['id']))}"


def _accuracy(row: Row) -> str:
    error = f" ± {100 * row['accuracy_se']:.2f}" if isfinite(row["accuracy_se"]) else ""
    return f"{100 * row['accuracy']:.2f}{error}"


def _digits(value: float) -> str:
    """Three significant digits, never an exponent."""
    if not isfinite(value) or not value:
        return "–" if value else "0"
    return f"{value:,.{max(0, 2 - floor(log10(abs(value))))}f}"


def _is_noise(cheaper: Row, row: Row) -> bool:
    """Whether the gain in accuracy is below two standard errors of an unpaired difference."""
    error = hypot(cheaper["accuracy_se"], row["accuracy_se"])
    return bool(row["accuracy"] - cheaper["accuracy"] < 2 * error)


def _rows(frame: pd.DataFrame) -> list[Row]:
    return cast(list[Row], frame.to_dict("records"))


def _x(rows: pd.DataFrame, axis: Metric) -> Floats:
    return rows[axis.column].to_numpy(float) / axis.scale


def _y(rows: pd.DataFrame) -> Floats:
    return 100 * rows["accuracy"].to_numpy(float)
