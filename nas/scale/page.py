"""The page of a scaled family: what its networks cost, beside the search that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nas.core.figures import BLUE, GREEN, GREY, ORANGE, Section, blank, figures_page
from nas.scale.fit.page import fit_sections, notes
from nas.scale.fit.result import Fit

Summary = Mapping[str, Any]  # what summary.json holds
Rows = Sequence[Mapping[str, Any]]


class SearchFront(NamedTuple):
    """A search's name, its front (as pareto.csv), and what its summary.json says."""

    name: str
    front: pd.DataFrame
    summary: Summary


def scale_page(path: Path, summary: Summary, search: SearchFront | None, fit: Fit | None) -> None:
    """Write the page to `path`."""
    rows: Rows = summary["family"]
    sections = [_front(summary, rows, search)] if any(row["latency_ms"] for row in rows) else []
    sections += [_rounding(rows), *(fit_sections(fit) if fit else [])]
    below = [*_notes(summary), *(notes(fit) if fit else [])]
    figures_page(path, f"{summary['baseline']}, scaled", _lead(summary, rows), sections, below)


def _lead(summary: Summary, rows: Rows) -> list[str]:
    last, how = rows[-1], f"rule {summary['rule']}"
    if summary["coefficients"]:
        how += ", alpha {:.4g}, beta {:.4g}, gamma {:.4g}".format(*summary["coefficients"])
    latency = last["latency_ratio"]
    times = f", and {latency:.3f} times its latency" if latency else ""
    lines = [
        f"{len(rows)} networks by {how}, {'fitted here' if summary['fit'] else 'given'}.",
        f"{last['name']}: {last['macs'] / 1e6:.4g} M multiply-adds, {last['macs_ratio']:.3f} times "
        f"the baseline's{times}.",
    ]
    verdict = summary["fit"]["verdict"] if summary["fit"] else ""
    return lines + ([f"{verdict[:1].upper()}{verdict[1:]}."] if verdict else [])


def _notes(summary: Summary) -> list[str]:
    repeats = "up" if summary["repeats"] == "ceil" else "to the nearest, unlike there"
    notes = [
        "Exact factors are rounded as the EfficientNet code does: channels to multiples of 8, "
        f"repeats {repeats}, pixels to the nearest; depth is counted in blocks, width in mean "
        "channels."
    ]
    if summary["latency"]:
        notes.append(
            f"Latency is by {summary['latency']}, of whole networks; it compares with nothing "
            "measured elsewhere."
        )
    if summary["images"]:
        notes.append(
            f"Accuracy is after the training budget={summary['budget']} with one seed, which ranks "
            f"networks and may change with longer training; images have {summary['native']} pixels "
            "a side, and are resized to each network's own."
        )
    return notes


def _front(summary: Summary, rows: Rows, search: SearchFront | None) -> Section:
    """The family and the search's front: accuracy or, where none was trained, MACs by latency."""
    trained = any("accuracy" in row for row in rows)
    kept = [r for r in rows if r["latency_ms"] and ("accuracy" in r or not trained)]
    figure = blank("latency (ms)", "accuracy (validation)" if trained else "multiply-adds (M)")
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="linear" if trained else "log", tickformat=".0%" if trained else "")
    words = "The family, from the baseline on"
    if search:
        front = search.front
        front = front.assign(ms=front["measured_ms"].fillna(front["latency_ms"])).sort_values("ms")
        figure.add_scatter(
            x=front["ms"].tolist(),
            y=(front["accuracy"] if trained else front["macs"] / 1e6).tolist(),
            mode="lines+markers", line={"color": GREY, "dash": "dot"}, marker={"size": 6},
            name=f"front of the search {search.name}",
        )  # fmt: skip
        words += f", over the front of the search {search.name}"
    figure.add_scatter(
        x=[r["latency_ms"] for r in kept],
        y=[r["accuracy"] if trained else r["macs"] / 1e6 for r in kept],
        error_y={"array": [r["accuracy_se"] for r in kept], "thickness": 1} if trained else None,
        mode="lines+markers+text", text=[r["name"] for r in kept], textposition="top left",
        line={"color": BLUE}, marker={"size": 9}, name="family",
        hovertext=[_hover(r) for r in kept], hoverinfo="text",
    )  # fmt: skip
    if trained:
        words += f"; bars are one standard error over the images.{_unlike(summary, search)}"
    return Section("The family", f"{words.removesuffix('.')}.", figure)


def _unlike(summary: Summary, search: SearchFront | None) -> str:
    """How the search's trainings differed from the family's, so that nobody compares the two."""
    if not search:
        return ""
    apart = [
        f"{key} {search.summary.get(key)} there, {summary[key]} here"
        for key in ("data", "images", "budget", "latency")
        if str(search.summary.get(key)).removesuffix(" table") != str(summary[key])
    ]
    return f" The two do not compare: {'; '.join(apart)}." if apart else ""


def _rounding(rows: Rows) -> Section:
    """Cost in the baseline's: what 2^phi asks, what the factors promise, what became of it."""
    figure = blank("phi", "times the baseline")
    figure.update_yaxes(type="log")
    phi = [row["phi"] for row in rows]
    lines = (
        ("two_to_phi", "2^phi", GREY, "dash"),
        ("macs_promised", "exact factors, depth · width² · resolution²", GREEN, "dot"),
        ("macs_ratio", "multiply-adds of the rounded network", BLUE, "solid"),
        ("latency_ratio", "latency of the rounded network", ORANGE, "solid"),
    )
    for key, name, colour, dash in lines:
        values = [row[key] for row in rows]
        if any(value is not None for value in values):
            figure.add_scatter(
                x=phi, y=values, name=name, mode="lines+markers" if dash == "solid" else "lines",
                line={"color": colour, "dash": dash},
            )  # fmt: skip
    words = (
        "What each network was meant to cost, and what it costs once blocks, channels and pixels "
        "are whole."
    )
    return Section("What rounding makes of phi", words, figure)


def _hover(row: Mapping[str, Any]) -> str:
    scored = "accuracy" in row
    accuracy = f"<br>accuracy {row['accuracy']:.1%} ± {row['accuracy_se']:.1%}" if scored else ""
    return (
        f"{row['name']}: {row['latency_ms']:.4g} ms, {row['macs']:,} MACs, {row['params']:,} "
        f"parameters<br>depth {row['depth_exact']:.3f} → {row['depth']:.3f} ({row['num_blocks']} "
        f"blocks)<br>width {row['width_exact']:.3f} → {row['width']:.3f}<br>"
        f"resolution {row['resolution_exact']:.1f} → {row['resolution']}{accuracy}"
    )
