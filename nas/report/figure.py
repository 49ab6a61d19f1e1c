"""The front of one search, or of several, as a figure for a paper: SVG or PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.core.errors import UserError
from nas.core.figures import BLUE, GREEN, GREY, ORANGE
from nas.core.files import write_bytes
from nas.report.drawing import LETTER, Canvas, Png, Point, Svg, diamond, star
from nas.report.fronts import axis_view, front, published
from nas.report.kept_run import KeptRun, metric_of, origin_of
from nas.report.metrics import LATENCY, name_of, percent, values

CANVASES: dict[str, Callable[[int, int, str], Canvas]] = {".svg": Svg, ".png": Png}
WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 22, 68  # margins
HUES = (ORANGE, BLUE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")  # of runs; Okabe and Ito 2008
TICKS = tuple(float(f"{step}e{power}") for power in range(-6, 7) for step in (1, 1.5, 2, 3, 5, 7))
OFFSETS = [(dx, dy) for r in (9, 16, 26, 40, 60) for dx in (1, -1, 0) for dy in (0.4, -1, 1.4, 2.2)
           for dx, dy in [(dx * r, dy * r)]]  # fmt: skip
NEAR = 11  # units from a point, at which its name needs no line to it
Box = tuple[float, float, float, float]


@dataclass
class Plot:
    """A canvas with axes; `taken` is what is drawn already, which names should not cover."""

    canvas: Canvas
    view: dict[str, Any]
    taken: list[Box] = field(default_factory=list)
    named: list[Point] = field(default_factory=list)  # the places that have names

    def x(self, cost: float) -> float:
        """The place of a cost."""
        low, high = self.view["range"]
        part = ((np.log10(cost) if self.view["log"] else cost) - low) / (high - low)
        return float(LEFT + part * (WIDTH - LEFT - RIGHT))

    def y(self, accuracy: float) -> float:
        """The place of an accuracy in percent."""
        low, high = self.view["accuracies"]
        return float(TOP + (high - accuracy) / (high - low) * (HEIGHT - TOP - BOTTOM))

    def places(self, rows: pd.DataFrame) -> list[Point]:
        """Of networks [n], those below the axis left out."""
        pairs = zip(values(rows, LATENCY), percent(rows), strict=True)
        found = [(self.x(cost), self.y(share)) for cost, share in pairs if cost == cost]
        return [(x, y) for x, y in found if y <= HEIGHT - BOTTOM]

    def block(self, centre: Point, width: float, height: float) -> None:
        """Keep a box free of names."""
        x, y = centre
        self.taken.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))

    def name(self, at: Point, words: str, size: float = 10) -> None:
        """Write words beside a point, where they cover least."""
        width = LETTER * size * len(words)

        def cost(offset: Point) -> float:
            x, y = at[0] + offset[0], at[1] + offset[1]
            left = x - (width if offset[0] < 0 else 0 if offset[0] else width / 2)
            box = (left, y - size, left + width, y)
            outside = left < LEFT or box[2] > WIDTH - RIGHT or y > HEIGHT - BOTTOM or y < TOP
            covered = sum(_overlap(box, other) for other in self.taken)
            others = sum(_distance(box, p) < 2 * NEAR for p in self.named if p != at)
            return covered + 2 * hypot(*offset) + 300 * others + 1e4 * outside

        dx, dy = min(OFFSETS, key=cost)
        anchor = "start" if dx > 0 else "end" if dx < 0 else "middle"
        if hypot(dx, dy) > NEAR:  # a line says whose name it is
            end = (at[0] + dx - (dx > 0) + (dx < 0), at[1] + dy - size / 3)
            self.canvas.line([at, end], GREY, 0.7)
        self.canvas.text((at[0] + dx, at[1] + dy), words, size, anchor)
        middle = at[0] + dx + (width / 2 if dx > 0 else -width / 2 if dx < 0 else 0)
        self.block((middle, at[1] + dy - size / 2), width, size + 2)


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _distance(box: Box, point: Point) -> float:
    x, y = point
    return hypot(max(box[0] - x, 0, x - box[2]), max(box[1] - y, 0, y - box[3]))


def write_figure(runs: Sequence[KeptRun], path: Path) -> None:
    """Write the picture, by the suffix of `path`; UserError where nothing was trained."""
    if not any(len(front(run, LATENCY)) for run in runs):
        raise UserError(f"no network of {runs[0].folder} was trained: there is no front to draw")
    metric = metric_of(runs)
    title = f"{metric} against latency: " + ", ".join(run.label for run in runs)
    plot = Plot(CANVASES[path.suffix](WIDTH, HEIGHT, title), axis_view(runs, LATENCY))
    _axes(plot, metric)
    for run, hue in zip(runs, _hues(runs), strict=True):
        _front(plot, run, hue, hue if len(runs) > 1 else BLUE)
    for run in runs:
        _published(plot, run)
    _legend(plot, runs)
    write_bytes(path, plot.canvas.data())


def _hues(runs: Sequence[KeptRun]) -> list[str]:
    return [HUES[i % len(HUES)] for i in range(len(runs))]


def _axes(plot: Plot, metric: str) -> None:
    low, high = plot.view["range"]
    ends = (10**low, 10**high) if plot.view["log"] else (low, high)
    costs = TICKS if plot.view["log"] else _even(*ends)
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for cost in (cost for cost in costs if ends[0] <= cost <= ends[1]):
        x = plot.x(cost)
        plot.canvas.line([(x, TOP), (x, bottom)], "#e3e3e3")
        plot.canvas.text((x, bottom + 15), f"{cost:g}", 10, "middle")
    for share in _even(*plot.view["accuracies"]):
        y = plot.y(share)
        plot.canvas.line([(LEFT, y), (right, y)], "#e3e3e3")
        plot.canvas.text((LEFT - 6, y + 4), f"{share:g}", 10, "end")
    plot.canvas.line([(LEFT, TOP), (LEFT, bottom), (right, bottom)], "#222222")
    plot.canvas.text(((LEFT + right) / 2, bottom + 33), "latency (ms)", 12, "middle")
    plot.canvas.text((16, (TOP + bottom) / 2), f"{metric} (%)", 12, "middle", turned=True)
    targets = sorted({target for target in plot.view["targets"] if target})
    for i, target in enumerate(targets):
        x, inner = plot.x(target), 0 < i < len(targets) - 1
        plot.canvas.line([(x, TOP), (x, bottom)], GREY, 1.2, dash=5)
        plot.block((x, (TOP + bottom) / 2), 3, bottom - TOP)
        anchor = "middle" if len(targets) == 1 else "start" if i else "end"
        if not inner:  # of several the least and the largest have room for their words
            plot.canvas.text((x, TOP - 6), f"target {target:.3g} ms", 10, anchor)


def _even(low: float, high: float) -> list[float]:
    """Round numbers between two, five to ten of them."""
    raw = (high - low) / 5
    power = 10 ** np.floor(np.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw)
    return [float(f"{i * step:.6g}") for i in range(int(np.ceil(low / step)), int(high / step) + 1)]


def _front(plot: Plot, run: KeptRun, hue: str, winner_hue: str) -> None:
    """The trained networks, the front with its error bars, the winner."""
    rows = front(run, LATENCY)
    for place in plot.places(run.trained):
        plot.canvas.circle(place, 2.6, "#b0b0b0")
        plot.block(place, 8, 8)
    places = plot.places(rows)
    corners = [p for a, b in pairwise(places) for p in (a, (b[0], a[1]))]
    if places:
        stairs = [*corners, places[-1], (WIDTH - RIGHT, places[-1][1])]
        plot.canvas.line(stairs, hue, 1.6)
        for (x0, y0), (x1, y1) in pairwise(stairs):
            plot.block(((x0 + x1) / 2, (y0 + y1) / 2), abs(x1 - x0) + 3, abs(y1 - y0) + 3)
    winner = (run.summary.get("winner") or {}).get("id")
    for place, row in zip(places, rows.to_dict("records"), strict=True):
        if row["accuracy_se"] == row["accuracy_se"]:
            ends = [plot.y(100 * (row["accuracy"] + s * row["accuracy_se"])) for s in (-1, 1)]
            plot.canvas.line([(place[0], y) for y in ends], hue)
            plot.block(place, 4, ends[0] - ends[1])
        if row["id"] == winner:
            plot.canvas.polygon(star(place, 9), winner_hue, "#ffffff")
        else:
            plot.canvas.circle(place, 4.2, "#ffffff", hue)
        plot.block(place, 12, 14)


def _published(plot: Plot, run: KeptRun) -> None:
    rows = published(run)
    rows = rows[rows["accuracy"].notna()]
    for place in plot.places(rows):
        plot.canvas.polygon(diamond(place, 5), GREEN, "#ffffff")
        plot.block(place, 12, 12)
        plot.named.append(place)
    for row in rows.to_dict("records"):
        for place in plot.places(pd.DataFrame([row])):
            plot.name(place, name_of({str(k): v for k, v in row.items()}))


def _legend(plot: Plot, runs: Sequence[KeptRun]) -> None:
    x, y = LEFT, HEIGHT - 12
    for run, hue in zip(runs, _hues(runs), strict=True):
        words = f"front of {run.label}" if len(runs) > 1 else "front, ± one standard error"
        plot.canvas.line([(x, y - 4), (x + 18, y - 4)], hue, 1.6)
        plot.canvas.circle((x + 9, y - 4), 4.2, "#ffffff", hue)
        plot.canvas.text((x + 23, y), words, 10)
        x += round(34 + LETTER * 10 * len(words))
    origin = origin_of(runs)
    marks = {origin: "#b0b0b0", "winner": BLUE, "to compare with": GREEN}
    for words, hue in marks.items():
        place = (x + 5, y - 4)
        match words:
            case _ if words == origin:
                plot.canvas.circle(place, 2.6, hue)
            case "winner":
                plot.canvas.polygon(star(place, 7), hue if len(runs) == 1 else GREY)
            case _:
                plot.canvas.polygon(diamond(place, 5), hue)
        plot.canvas.text((x + 14, y), words, 10)
        x += round(26 + LETTER * 10 * len(words))
