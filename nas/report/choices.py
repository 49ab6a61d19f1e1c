"""Which choices matter, and which of them the front prefers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from nas.core.figures import GREY, ORANGE, Section
from nas.report.frames import PICK
from nas.report.kept_run import KeptRun
from nas.stats.pareto import non_dominated

LEAST = 30  # networks, below which no choice is said to matter
MOST_SHOWN = 12  # choices beside each other
MOST_LINES = 1000  # networks that lie behind the front; of more every second, third, ...
# Lines of one option lie beside each other, over that part of an axis, as far apart as can be.
SPREAD, GOLDEN = 0.07, 0.618034
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """The share of a figure's variance that a choice explains by itself, of score and latency."""

    choice: str
    score: float
    latency: float


def picked(rows: pd.DataFrame) -> list[str]:
    """The columns of choices that were made in different ways."""
    return [c for c in rows.columns if c.startswith(PICK) and rows[c].nunique() > 1]


def importances(run: KeptRun) -> list[Importance]:
    """Of every choice of the sampled networks, the largest for the score first; [] for too few."""
    rows = run.sampled
    rows = rows[rows[picked(rows)].notna().all(axis=1)]
    if len(rows) < LEAST:
        return []
    found = [
        Importance(
            column.removeprefix(PICK),
            epsilon_squared(rows[column], rows["score"].to_numpy(float)),
            epsilon_squared(rows[column], np.log(rows["latency_ms"].to_numpy(float))),
        )
        for column in picked(rows)
    ]
    return sorted(found, key=lambda i: (-i.score, -i.latency, i.choice))


def epsilon_squared(labels: pd.Series, figure: Floats) -> float:
    """The share of the variance of a `figure` [n] between groups of equal `labels` [n], 0 to 1.

    Kelley 1935, "An unbiased correlation ratio measure": what chance alone puts between groups is
    taken off, so that a choice of many options does not matter more for that.
    """
    codes, _ = pd.factorize(labels)
    figure, groups, n = figure - figure.mean(), int(codes.max()) + 1, len(figure)
    total = float((figure**2).sum())
    if not total > 0 or n <= groups or groups < 2:
        return 0.0
    sums, sizes = np.bincount(codes, figure), np.bincount(codes)
    between = float((sums**2 / sizes).sum())
    noise = (groups - 1) * (total - between) / (n - groups)
    return max(0.0, float(between - noise) / total)


def place_of(choice: str) -> tuple[str, str]:
    """(stage, kind) of a choice: "stages.3.blocks.0.kernel" is ("stage 4", "kernel")."""
    found = re.match(r"stages\.(\d+)\.(?:blocks\.)?(?:(\d+)\.?)?(\w*)$", choice)
    if found:
        return f"stage {int(found[1]) + 1}", found[3] or "block"
    first, _, last = choice.rpartition(".")
    return (first or "network"), last


def short(choice: str) -> str:
    """A choice's name over an axis: "stage 4 kernel", with the block where it has its own."""
    block = re.search(r"blocks\.(\d+)", choice)
    stage, kind = place_of(choice)
    return f"{stage}{f'.{int(block[1]) + 1}' if block else ''} {kind}"


@dataclass(frozen=True)
class Preference:
    """How the front's picks of one kind in one stage differ from every option of each alike.

    No test says which differences are chance: the networks of a searched front descend from each
    other, so that they agree in choices without any effect, too.

    distance   total variation, 0 for as often as at random, 1 for never what random gives
    words      the mean option, or the one that is taken most over its share at random
    """

    stage: str
    kind: str
    distance: float
    words: str


def preferences(run: KeptRun) -> list[Preference]:
    """Of each stage and kind of choice, on the front of score and latency."""
    rows = run.judged
    if not len(rows) or not picked(rows):
        return []
    points = rows[["score", "latency_ms"]].to_numpy(float)
    front = rows[non_dominated(points, (True, False))]
    found = []
    places = dict.fromkeys(place_of(column.removeprefix(PICK)) for column in picked(rows))
    for stage, kind in places:
        columns = [c for c in picked(rows) if place_of(c.removeprefix(PICK)) == (stage, kind)]
        taken = [front[c][_active(front, c)].dropna() for c in columns]
        options = [rows[c].dropna().unique() for c in columns]
        if sum(map(len, taken)):
            found.append(_preference(stage, kind, taken, options))
    return found


def _preference(
    stage: str, kind: str, taken: Sequence[pd.Series], options_of: Sequence[NDArray[Any]]
) -> Preference:
    """What is `taken` of each of some choices, together, against `options_of` each alike."""
    options = sorted(set().union(*options_of), key=lambda x: (isinstance(x, str), x))
    total = sum(map(len, taken))
    shares = pd.concat(taken).value_counts(normalize=True)
    shares = shares.reindex(options, fill_value=0.0).to_numpy(float)
    even = np.zeros(len(options))
    for picks, own in zip(taken, options_of, strict=True):
        even += np.isin(options, own) / len(own) * len(picks) / total
    if isinstance(options[0], str):
        most = int(np.argmax(shares))
        words = f"{options[most]} {shares[most]:.0%} (at random {even[most]:.0%})"
    else:
        mean, at_random = float(shares @ options), float(even @ options)
        sign = "=" if np.isclose(mean, at_random) else "▲" if mean > at_random else "▼"
        words = f"{sign} {mean:.3g} (at random {at_random:.3g})"
    return Preference(stage, kind, float(np.abs(shares - even).sum() / 2), words)


def _active(rows: pd.DataFrame, column: str) -> pd.Series:
    """Whether a choice has an effect: its stage, or its block, is not left out."""
    found = re.match(r"pick\.(stages\.\d+)\.(?:blocks\.(\d+))?", column)
    depth = f"{PICK}{found[1]}.depth" if found else ""
    if not found or depth not in rows or column == depth:
        return pd.Series(True, rows.index)
    return rows[depth].astype(float) > float(found[2] or 0)


def parallel_coordinates(run: KeptRun) -> list[Section]:
    """The judged networks as lines over the choices that matter most; [] for too few of either."""
    shown = [i.choice for i in importances(run)[:MOST_SHOWN]]
    if len(shown) < 2:
        return []
    shown = sorted(shown, key=lambda choice: list(run.judged.columns).index(PICK + choice))
    rows = run.judged
    points = rows[["score", "latency_ms"]].to_numpy(float)
    mask = non_dominated(points, (True, False))
    figure = go.Figure(layout={"template": "none"})
    axes = {choice: _positions(rows[PICK + choice]) for choice in shown}
    few = rows[~mask].iloc[:: -(-len(rows) // MOST_LINES)]
    for part, name, line in (
        (few, "judged", {"color": GREY, "width": 1}),
        (rows[mask], "on the front of scores", {"color": ORANGE, "width": 1.6}),
    ):
        x: list[float | None] = []
        y: list[float | None] = []
        ids: list[str | None] = []
        for number, row in enumerate(part.to_dict("records")):
            spread = (number * GOLDEN % 1 - 0.5) * SPREAD
            for i, choice in enumerate(shown):
                x.append(i)
                y.append(axes[choice][row[PICK + choice]] + spread)
            x, y, ids = [*x, None], [*y, None], [*ids, *[row["id"]] * len(shown), None]
        figure.add_scatter(
            x=x, y=y, mode="lines", line=line, name=name, customdata=ids, hoverinfo="skip",
            opacity=0.22 if name == "judged" else 0.75, connectgaps=False,
        )  # fmt: skip
    figure.update_layout(annotations=list(_labels(axes)), margin={"t": 20, "b": 85, "l": 30})
    figure.update_xaxes(
        tickvals=list(range(len(shown))), ticktext=[short(c) for c in shown], tickangle=-40,
        range=[-0.4, len(shown) - 0.5], gridcolor=GREY,
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[-0.08, 1.08])
    figure.update_layout(meta={"choices": axes_as_data(axes)}, legend={"y": 1.08})
    number = len(few) + int(mask.sum())
    drawn = f"{len(rows)}" if number == len(rows) else f"{number} of {len(rows)}"
    words = (
        f"Each line is a network that the search judged ({drawn}), over the {len(shown)} "
        "choices that matter most for the score, in the order of the network. Orange: what no "
        f"other beats in score and latency ({mask.sum()}). Blue: the network chosen above."
    )
    return [Section("Choices beside each other", words, figure)]


def axes_as_data(axes: dict[str, dict[object, float]]) -> list[dict[str, object]]:
    """Axes with the heights of their options, as JSON can say it."""
    return [{"choice": c, "heights": [[k, v] for k, v in a.items()]} for c, a in axes.items()]


def _positions(labels: pd.Series) -> dict[object, float]:
    """The height, 0 to 1, of each option."""
    options = sorted(labels.dropna().unique(), key=lambda x: (isinstance(x, str), x))
    return {label: i / max(len(options) - 1, 1) for i, label in enumerate(options)}


def _labels(axes: dict[str, dict[object, float]]) -> Iterator[dict[str, object]]:
    for i, options in enumerate(axes.values()):
        for label, height in options.items():
            text = f"{label:g}" if isinstance(label, float | int) else str(label)
            yield {
                "x": i, "y": height, "text": text, "showarrow": False, "xanchor": "left",
                "xshift": 3, "font": {"size": 11}, "bgcolor": "white", "borderpad": 0,
            }  # fmt: skip
