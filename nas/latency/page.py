"""The page of a latency table: how right it is, and why multiply-adds are no stand-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from nas.core.figures import BLUE, GREEN, GREY, ORANGE, Section, blank, figures_page

Floats = NDArray[np.float64]


def latency_page(
    path: Path,
    *,
    title: str,
    lead: Sequence[str],
    networks: Sequence[Mapping[str, Any]],
    macs: Floats,
    ms: Floats,
    rank: float,
    published: Mapping[str, tuple[float, float]],
    target_ms: float | None,
) -> None:
    """Write the page to `path`.

    `networks` are rows of networks.csv; `macs` and `ms` those of random networks, with their rank
    correlation; `published` (MACs, ms) by name.  Without `networks` (a table that was only read)
    the first figure is left out.
    """
    sections = [_agreement(networks)] if networks else []
    sections.append(_against_macs(macs, ms, rank, published, target_ms))
    notes = [
        "Latency is that of one device, one runtime and one setting; it compares with nothing "
        "measured elsewhere.",
        "Random networks take every label of every choice alike; a search looks elsewhere.",
    ]
    figures_page(path, title, lead, sections, notes)


def _agreement(networks: Sequence[Mapping[str, Any]]) -> Section:
    figure = blank("predicted (ms)", "measured (ms)", log=True)
    ends = np.array([f(row["predicted_ms"] for row in networks) for f in (min, max)])
    for share, name in ((0.1, "± 10 %"), (0.05, "± 5 %")):
        figure.add_scatter(
            x=[*ends, *ends[::-1]],
            y=[*(ends * (1 + share)), *(ends[::-1] * (1 - share))],
            fill="toself", mode="none", fillcolor="rgba(136,136,136,.18)", name=name,
            hoverinfo="skip",
        )  # fmt: skip
    roles = (("calibrate", "corrected the table", GREY), ("validate", "never seen by it", ORANGE))
    for role, name, colour in roles:
        rows = [row for row in networks if row["role"] == role]
        figure.add_scatter(
            x=[row["predicted_ms"] for row in rows],
            y=[row["median_ms"] for row in rows],
            error_y={
                "array": [row["ci_high_ms"] - row["median_ms"] for row in rows],
                "arrayminus": [row["median_ms"] - row["ci_low_ms"] for row in rows],
                "thickness": 1, "width": 0,
            },
            mode="markers", marker={"color": colour, "size": 7}, name=name, hoverinfo="text",
            text=[_hover(row) for row in rows],
        )  # fmt: skip
    words = (
        "Each dot is a whole network, predicted as the sum of its blocks and then measured; bars "
        "are the interval of the measured median (of a command: the range of its runs)."
    )
    return Section("Predicted against measured", words, figure)


def _hover(row: Mapping[str, Any]) -> str:
    off = row["predicted_ms"] / row["median_ms"] - 1
    facts = f"{row['median_ms']:.4g} ms measured, {row['predicted_ms']:.4g} predicted ({off:+.1%})"
    return "<br>".join([facts, *str(row["arch"]).split(" | ")])


def _against_macs(
    macs: Floats,
    ms: Floats,
    rank: float,
    published: Mapping[str, tuple[float, float]],
    target_ms: float | None,
) -> Section:
    figure = blank("multiply-adds (M)", "latency (ms)", log=True)
    dot = {"color": BLUE, "size": 4, "opacity": 0.35}
    figure.add_scatter(x=macs / 1e6, y=ms, mode="markers", marker=dot, name="random networks")
    if published:
        figure.add_scatter(
            x=[m / 1e6 for m, _ in published.values()],
            y=[t for _, t in published.values()],
            text=list(published), mode="markers+text", textposition="middle left",
            marker={"color": GREEN, "size": 11, "symbol": "diamond"}, name="published",
        )  # fmt: skip
    if target_ms is not None:
        figure.add_hline(target_ms, line={"dash": "dash", "color": GREY})
        figure.add_annotation(
            x=0, xref="paper", y=np.log10(target_ms), text=f" target {target_ms:.3g} ms",
            showarrow=False, xanchor="left", yanchor="bottom",
        )  # fmt: skip
    words = (
        f"Multiply-adds rank the predicted latency of random networks at Spearman {rank:.3f}; "
        f"{_same_macs(macs, ms)}"
    )
    return Section("Latency against multiply-adds", words, figure)


def _same_macs(macs: Floats, ms: Floats) -> str:
    """How far networks of about the median's multiply-adds lie apart."""
    middle = np.median(macs)
    alike = ms[np.abs(macs / middle - 1) < 0.02]
    if len(alike) < 20:
        return "networks of equal multiply-adds differ in latency."
    low, high = np.quantile(alike, [0.05, 0.95])
    return (
        f"networks within 2 % of {middle / 1e6:.3g} M multiply-adds take from {low:.3g} to "
        f"{high:.3g} ms (5 to 95 %)."
    )


def blocks_page(
    path: Path, title: str, lead: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Time by block along a network; `rows` are those of `nas.profile`."""
    figure = go.Figure(blank("", "milliseconds, alone"))
    total = sum(row["macs"] for row in rows) or 1
    figure.add_bar(
        x=[row["place"] for row in rows],
        y=[row["alone_ms"] for row in rows],
        marker={"color": BLUE}, name="time", hoverinfo="text",
        text=[_row_hover(row) for row in rows],
        textposition="none",
    )  # fmt: skip
    whole = sum(row["alone_ms"] for row in rows)
    figure.add_scatter(
        x=[row["place"] for row in rows],
        y=[row["macs"] / total * whole for row in rows],
        mode="markers", marker={"color": ORANGE, "symbol": "line-ew-open", "size": 14},
        name="its share of multiply-adds", hoverinfo="skip",
    )  # fmt: skip
    figure.update_layout(margin={"b": 100}, legend={"y": 1.1})
    words = (
        "Bars are what each row takes by itself; the mark is what it would take if time followed "
        "multiply-adds."
    )
    notes = ["A row timed alone also pays for its call, and finds its caches warmer."]
    figures_page(path, title, lead, [Section("Time by block", words, figure)], notes)


def _row_hover(row: Mapping[str, Any]) -> str:
    side, _, channels = row["input"]
    shown = {"kernel": row["kernel"], "expand": row["expand"], "SE": row["se"], "act": row["act"]}
    words = " ".join(f"{name} {value}" for name, value in shown.items() if value)
    return (
        f"{row['operator']} {side}² x {channels} to {row['width']}<br>{words}<br>"
        f"{row['alone_ms']:.4g} ms{' (noisy)' if row['noisy'] else ''}<br>{row['macs']:,} MACs"
    )
