"""Pages about latency: a table beside what was measured, and the time of a network by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.core.figures import BLUE, GREEN, GREY, ORANGE, Section, blank, figures_page
from nas.latency.range import Findings
from nas.latency.store import describe_validation
from nas.latency.table import LatencyTable

MAX_DRAWN = 2000  # random networks


def write_page(folder: Path, title: str, findings: Findings) -> None:
    """Write latency.html: predicted against measured, and latency against MACs."""
    path, lead, table = folder / "networks.csv", findings.latencies.name, findings.latencies.source
    sections = [_against_macs(findings)]
    if path.exists():  # not of a table that was not built here
        sections.insert(0, _agreement(pd.read_csv(path)))
    if isinstance(table, LatencyTable):
        lead = f"{lead}: {describe_validation(table)}"
    notes = [
        "Latency is that of one device, one runtime and one setting; it compares with nothing "
        "measured elsewhere.",
        "Random networks take every label of every choice alike; a search looks elsewhere.",
    ]
    figures_page(folder / "latency.html", title, [lead], sections, notes)


def _agreement(networks: pd.DataFrame) -> Section:
    figure = blank("predicted (ms)", "measured (ms)", log=True)
    ends = networks["predicted_ms"].agg(["min", "max"]).to_numpy()
    for share, name in ((0.1, "± 10 %"), (0.05, "± 5 %")):
        figure.add_scatter(
            x=[*ends, *ends[::-1]],
            y=[*(ends * (1 + share)), *(ends[::-1] * (1 - share))],
            fill="toself", mode="none", fillcolor="rgba(136,136,136,.18)", name=name,
            hoverinfo="skip",
        )  # fmt: skip
    roles = (("calibrate", "corrected the table", GREY), ("validate", "never seen by it", ORANGE))
    for role, name, colour in roles:
        rows = networks[networks["role"] == role]
        ms = rows["median_ms"]
        bars = {"array": rows["ci_high_ms"] - ms, "arrayminus": ms - rows["ci_low_ms"]}
        figure.add_scatter(
            x=rows["predicted_ms"], y=ms, error_y={**bars, "thickness": 1, "width": 0},
            mode="markers", marker={"color": colour, "size": 7}, name=name, hoverinfo="text",
            text=[_hover(row) for row in rows.to_dict("records")],
        )  # fmt: skip
    words = (
        "Each dot is a whole network, predicted from the sum of its blocks and then measured; bars "
        "are the interval of the measured median (of a command: the range of its runs)."
    )
    return Section("Predicted against measured", words, figure)


def _hover(row: Mapping[Any, Any]) -> str:
    off = row["predicted_ms"] / row["median_ms"] - 1
    facts = f"{row['median_ms']:.4g} ms measured, {row['predicted_ms']:.4g} predicted ({off:+.1%})"
    return "<br>".join([facts, *str(row["arch"]).split(" | ")])


def _against_macs(findings: Findings) -> Section:
    reach, target_ms = findings.range, findings.target_ms
    macs, ms = reach.costs.macs[:MAX_DRAWN], reach.ms[:MAX_DRAWN]
    figure = blank("multiply-adds (M)", "latency (ms)", log=True)
    dot = {"color": BLUE, "size": 4, "opacity": 0.35}
    figure.add_scatter(x=macs / 1e6, y=ms, mode="markers", marker=dot, name="random networks")
    if published := findings.published:
        figure.add_scatter(
            x=[row["macs"] / 1e6 for row in published.values()],
            y=[row["latency_ms"] for row in published.values()],
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
        "Multiply-adds rank the predicted latency of random networks at Spearman "
        f"{reach.macs_rank:.3f}; {_same_macs(macs, ms)}"
    )
    return Section("Latency against multiply-adds", words, figure)


def _same_macs(macs: NDArray[Any], ms: NDArray[np.float64]) -> str:
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
    figure = blank("", "milliseconds, alone")
    places, ms = [row["place"] for row in rows], [row["alone_ms"] for row in rows]
    hover = [_row_hover(row) for row in rows]
    figure.add_bar(
        x=places, y=ms, marker={"color": BLUE}, name="time", hoverinfo="text", text=hover,
        textposition="none",
    )  # fmt: skip
    ms_per_mac = sum(ms) / (sum(row["macs"] for row in rows) or 1)
    figure.add_scatter(
        x=places, y=[row["macs"] * ms_per_mac for row in rows],
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
