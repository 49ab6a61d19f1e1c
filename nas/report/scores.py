"""A search's scores: against latency, against random search, and their fidelity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.core.figures import BLUE, GREY, ORANGE, Section, blank
from nas.report.kept_run import KeptRun
from nas.report.verdicts import describe_gain

NOTE = "A score ranks networks; it is not the accuracy that one would reach alone."


def score_sections(run: KeptRun) -> list[Section]:
    """The figures of a run whose judge scored its networks, or that has random ones to compare."""
    summary, scored = run.summary, run.tables["trials"]
    gain, fidelity = summary.get("versus_random"), summary.get("fidelity")
    if not len(scored) or not (gain or "trained" in summary):
        return []
    scored = scored[scored["score"].notna()]
    both = scored[["number", "id", "score", "score_se", "latency_ms", "arch"]].merge(
        run.tables["trained"][["number", "score", "score_se"]].dropna(subset="number"),
        on="number",
        suffixes=("", "_alone"),
    )
    places = {row["id"]: f"no. {i} on the front: " for i, row in enumerate(summary["front"], 1)}
    scored, both, random = (
        rows.assign(place=rows["id"].map(places).fillna(""))
        for rows in (scored, both, run.tables["random"])
    )
    sections = [_search(scored, both, random, summary["target_ms"])]
    sections += [_gain(gain)] if gain else []
    return sections + ([_fidelity(both, fidelity)] if fidelity else [])


def _search(
    scored: pd.DataFrame, both: pd.DataFrame, random: pd.DataFrame, target_ms: float
) -> Section:
    figure = blank("latency (ms)", "score, higher is better")
    figure.update_xaxes(type="log")
    for rows, name, marker in (
        (random, "random", {"color": GREY, "size": 5, "opacity": 0.5}),
        (scored, "searched", {"color": BLUE, "size": 6, "opacity": 0.45}),
        (both, "trained alone", {"color": ORANGE, "size": 12, "symbol": "circle-open"}),
    ):
        points = {"x": rows["latency_ms"], "y": rows["score"], "text": _hovers(rows)}
        figure.add_scatter(**points, mode="markers", marker=marker, name=name, hoverinfo="text")
    figure.add_vline(target_ms, line={"dash": "dash", "color": GREY})
    words = f"Every network that the search scored; the dashed line is the target. {NOTE}"
    return Section("Score against latency", words, figure)


def _gain(gain: Mapping[str, Any]) -> Section:
    figure = blank("networks judged", "share of the hypervolume of both")
    for name, colour in (("random", GREY), ("search", BLUE)):
        points = {"x": list(range(1, len(gain[name]) + 1)), "y": gain[name]}
        figure.add_scatter(**points, mode="lines", name=name, line={"color": colour, "width": 2})
    figure.update_yaxes(tickformat=".0%")
    words = f"Judged alike, network by network: {describe_gain(gain)}."
    return Section("What searching bought over drawing at random", words, figure)


def _fidelity(both: pd.DataFrame, fidelity: Mapping[str, Any]) -> Section:
    figure = blank("score", "score when trained alone (minus the cross-entropy, nats)")
    figure.add_scatter(
        x=both["score"], y=both["score_alone"], mode="markers", name="network",
        error_x={"array": both["score_se"].fillna(0), "thickness": 1},
        error_y={"array": both["score_se_alone"], "thickness": 1},
        marker={"color": ORANGE, "size": 9}, showlegend=False, hoverinfo="text",
        text=_hovers(both),
    )  # fmt: skip
    low, high = fidelity["kendall_interval"]
    words = (
        f"Kendall's tau {fidelity['kendall']:.2f} ({low:.2f} to {high:.2f}) over "
        f"{fidelity['num_networks']} networks: {fidelity['words']}. Bars are standard errors."
    )
    return Section("What the scores are worth", words, figure)


def _hovers(rows: pd.DataFrame) -> list[str]:
    return [
        f"{row['place']}network {row['id']}<br>"
        f"score {row['score']:.4g}, {row['latency_ms']:.3g} ms<br>"
        + str(row["arch"]).replace(" | ", "<br>")
        for row in rows.to_dict("records")
    ]
