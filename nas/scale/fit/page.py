"""The pictures of a fit: ways of scaling against each other, and where the best triple lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from nas.core.figures import BLUE, GREEN, GREY, ORANGE, Section, blank
from nas.scale.fit.comparison import LABELS
from nas.scale.fit.grid import DOUBLE
from nas.scale.fit.response_surface import quadratic
from nas.scale.fit.result import Fit, Plain

# Okabe and Ito 2008, as in nas.core.figures; the fitted triple has a hue of its own.
PURPLE, YELLOW = "#CC79A7", "#E69F00"
COLOURS = {
    "fitted": PURPLE, "efficientnet": YELLOW, "depth": BLUE, "width": ORANGE,
    "resolution": GREEN, "dwr": GREY, "uniform": GREY,
}  # fmt: skip
SYMBOLS = {"fitted": "star", "efficientnet": "diamond", "uniform": "square"}
BARS = {"thickness": 1.5, "width": 4}
MESH = 36  # divisions of a side of the triangle
REGION = 0.95  # part of the resampled surfaces whose best triples are ringed


def notes(fit: Fit) -> list[str]:
    """What a reader should know before believing the pictures."""
    lines = [
        f"Judged by {fit.judge}. Short training is known to favour width and long training depth "
        "(ResNet-RS, Bello et al. 2021): what holds here need not hold for long trainings.",
        "Factors are those that rounding gave: blocks, mean channels, pixels over the baseline's; "
        f"costs are those of the rounded networks, {_target(fit):g} ± "
        f"{fit.tolerance * _target(fit) / DOUBLE:.2g} times the baseline's where they are called "
        "equal.",
        "Intervals of the confirmed differences are over seeds, for all comparisons at once, and "
        "for these validation images.",
    ]
    if any(row["epochs"] == 0 for row in fit.rows):
        lines.append(
            "The surface is through scores of one elastic network; intervals by the surface are "
            "over its networks, and what another training of it would give is not in them."
        )
    if fit.agreement:
        a = fit.agreement
        low, high = ("–" if a[end] is None else f"{a[end]:.2f}" for end in ("low", "high"))
        lines.append(
            f"The first scores order {a['num_networks']} networks as longer trainings do at "
            f"Kendall's tau {a['kendall']:.2f} ({low} to {high})."
        )
    return lines


def fit_sections(fit: Fit) -> list[Section]:
    """The figures: accuracy against cost, the triangle of triples, what the rivals lose."""
    sections = [_against_cost(fit)] if fit.confirmation else []
    return [*sections, _triangle(fit), _differences(fit)]


def _target(fit: Fit) -> float:
    return DOUBLE**fit.phi


def _against_cost(fit: Fit) -> Section:
    """EfficientNet's Figure 8, with error bars."""
    unit = "multiply-adds" if fit.objective == "macs" else "latency"
    figure = blank(f"{unit}, times the baseline's", "accuracy (%)")
    known = [row for row in fit.confirmation if row["accuracy"] is not None]
    for name, colour in COLOURS.items():
        rows = [row for row in known if row["name"] in ("baseline", name)]
        figure.add_scatter(
            x=[row["ratio"] for row in rows],
            y=[100 * row["accuracy"] for row in rows],
            error_y={"array": [100 * (row["accuracy_se"] or 0) for row in rows], **BARS},
            mode="lines+markers", name=LABELS[name],
            line={"color": colour, "dash": "dot" if name in ("dwr", "uniform") else "solid"},
            marker={"size": 9 if name == "fitted" else 7, "symbol": SYMBOLS.get(name, "circle")},
            text=[_hover(row) for row in rows], hoverinfo="text",
        )  # fmt: skip
    words = (
        "Each line begins at the baseline and goes one way of scaling; the longer trainings, mean "
        "of the seeds, bars of one standard error over them (seeds are shared, so differences are "
        "better known than the bars say: see below)."
    )
    return Section("Accuracy against cost, by way of scaling", words, figure)


def _hover(row: Plain) -> str:
    if row["name"] == "baseline":
        return f"baseline<br>{100 * row['accuracy']:.2f} %"
    slack = "" if row["within"] else "<br>outside the tolerance of equal cost"
    return (
        f"{LABELS[row['name']]}, phi = {row['phi']}<br>{_factors(row['triple'])}<br>"
        f"{100 * row['accuracy']:.2f} % at {row['ratio']:.3f} times the cost, "
        f"{row['num_seeds']} seeds{slack}"
    )


def _factors(triple: Sequence[float]) -> str:
    return "alpha {:.3g}, beta {:.3g}, gamma {:.3g}".format(*triple)


def _mesh(fit: Fit) -> tuple[Any, Any]:
    """Shares [n, 3] all over the triangle, and the surface's loss there in per cent."""
    cells = [(i, j, MESH - i - j) for i in range(MESH + 1) for j in range(MESH + 1 - i)]
    shares = np.array(cells) / MESH
    # a share s of the logarithm of the cost is a factor of exp(s log(target) / exponent)
    x = shares * math.log(_target(fit)) / np.array(fit.baseline["exponents"])
    return shares, 100 * np.expm1(quadratic(x) @ np.array(fit.surface["terms"]))


def _triangle(fit: Fit) -> Section:
    figure = go.Figure(layout={"template": "none"})
    shares, loss = _mesh(fit)
    bar = {"title": {"text": "loss over<br>baseline's (%)"}, "thickness": 12, "len": 0.8}
    colours = {"color": loss, "colorscale": "Viridis", "reversescale": True, "colorbar": bar}
    _dots(
        figure, shares, "the surface", marker={**colours, "symbol": "hexagon", "size": 11},
        opacity=0.75, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    edge = {"color": "black", "width": 1}
    ring = {"color": "rgba(0,0,0,0)", "size": 15, "line": {"color": PURPLE, "width": 2.5}}
    _candidates(figure, _region(fit.candidates), f"{REGION:.0%} confidence region", ring)
    hollow = {"color": "rgba(0,0,0,0)", "size": 6, "line": {"color": GREY, "width": 1.5}}
    _candidates(figure, [c for c in fit.candidates if not c["judged"]], "candidates", hollow)
    judged = [c for c in fit.candidates if c["judged"]]
    _candidates(figure, judged, "judged", {"color": "white", "size": 7, "line": {"width": 1}})
    for name, rival in fit.rivals.items():
        size, symbol = (11, "diamond") if name == "efficientnet" else (8, "square")
        look = {"color": COLOURS[name], "size": size, "symbol": symbol, "line": edge}
        _candidates(figure, [rival], LABELS[name], look)
    best = [c for c in fit.candidates if c["triple"] == [fit.alpha, fit.beta, fit.gamma]]
    star = {"color": PURPLE, "size": 20, "symbol": "star", "line": edge}
    _candidates(figure, best, LABELS["fitted"], star)
    figure.update_layout(ternary=_axes(), legend={"y": -0.1}, margin={"t": 45, "b": 45})
    return Section("Where the best triple lies", _triangle_words(fit), figure)


def _triangle_words(fit: Fit) -> str:
    max_chosen = max(c["chosen"] for c in fit.candidates)
    return (
        f"Every point costs {_target(fit):g} times the baseline: its distance from a side is the "
        "share of the (logarithm of the) cost that depth, width or resolution takes. Colour is the "
        f"fitted surface (R² {fit.surface['r2']:.2f}; {100 * math.expm1(fit.surface['loo']):.1f} % "
        "off where a network is left out), a guess far from what was trained; rings hold the best "
        f"of {REGION:.0%} of the surfaces fitted to resampled data, no network being the best of "
        f"more than {max_chosen:.0%} of them."
    )


def _axes() -> Plain:
    side = {"tickformat": ".0%", "gridcolor": GREY, "linecolor": GREY, "ticks": "outside"}
    titles = {"aaxis": "depth", "baxis": "width", "caxis": "resolution"}
    axes = {axis: {**side, "title": {"text": text}, "nticks": 5} for axis, text in titles.items()}
    return {"bgcolor": "rgba(0,0,0,0)", "sum": 1, **axes}


def _dots(figure: go.Figure, shares: Any, name: str, **look: Any) -> None:
    depth, width, resolution = np.asarray(shares, float).reshape(-1, 3).T
    figure.add_scatterternary(
        a=depth, b=width, c=resolution, mode="markers", name=name, cliponaxis=False, **look
    )


def _candidates(figure: go.Figure, rows: Sequence[Plain], name: str, marker: Plain) -> None:
    texts = [
        f"{name}<br>{_factors(row['triple'])}<br>rounded: depth x {row['depth']:.3g}, width x "
        f"{row['width']:.3g}, resolution x {row['resolution']:.3g}<br>{row['ratio']:.3f} times "
        "the cost"
        + (f"<br>best of {row['chosen']:.1%} of resampled surfaces" if "chosen" in row else "")
        for row in rows
    ]
    if rows:
        shares = [row["shares"] for row in rows]
        _dots(figure, shares, name, marker=marker, text=texts, hoverinfo="text")


def _region(candidates: Sequence[Plain]) -> list[Plain]:
    """The fewest candidates that are the best of REGION of the resampled surfaces."""
    ordered = sorted(candidates, key=lambda c: -c["chosen"])
    before = np.cumsum([0.0, *(c["chosen"] for c in ordered)])[:-1]
    return [c for c, done in zip(ordered, before, strict=True) if done < REGION and c["chosen"]]


def _differences(fit: Fit) -> Section:
    figure = blank("loss over the fitted triple's (%)", "")
    confirmed = [r for r in fit.confirmation if r.get("low") is not None and r["phi"] == fit.phi]
    longer = {row["name"]: row for row in confirmed}
    shown = (("by the surface", fit.regret, GREY), ("trained longer", longer, PURPLE))
    for shift, (label, by_name, colour) in enumerate(shown):
        names = [name for name in reversed(LABELS) if name in by_name]
        rows = [by_name[name] for name in names]
        figure.add_scatter(
            x=[row["value"] for row in rows],
            y=[list(reversed(LABELS)).index(name) + 0.2 * (1 - 2 * shift) for name in names],
            error_x={
                "array": [row["high"] - row["value"] for row in rows],
                "arrayminus": [row["value"] - row["low"] for row in rows], **BARS,
            },
            mode="markers", name=label, marker={"color": colour, "size": 9},
            hovertemplate="%{x:.2f} %",
        )  # fmt: skip
    figure.add_vline(0, line={"dash": "dash", "color": GREY})
    others = list(reversed(LABELS))[:-1]
    figure.update_yaxes(tickvals=list(range(len(others))), ticktext=[LABELS[n] for n in others])
    figure.update_layout(margin={"l": 150})
    verdict = fit.verdict[:1].upper() + fit.verdict[1:]
    words = f"Right of zero a rule is worse than the fitted triple at equal cost. {verdict}."
    return Section("What the other rules lose", words, figure)
