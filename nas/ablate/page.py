"""The page of an ablation: what each idea does to accuracy, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.core.figures import BLUE, GREY, ORANGE, Section, blank, figures_page

Rows = Sequence[Mapping[str, Any]]


def ablation_page(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the page to `path`; variants whose trainings failed are not drawn."""
    rows = [row for row in summary["rows"] if "reason" not in row]
    sections = [_differences(rows), _against_cost(rows)]
    images = f"{summary['images']['train']:,} images of {summary['data']}"
    lead = [
        f"{summary['network']} at {summary['resolution']} pixels and {len(rows) - 1} variants, "
        f"each trained {len(summary['seeds'])} times with budget={summary['budget']} ({images}, "
        f"epochs: {summary['epochs']})."
    ]
    title = f"What the ideas of {summary['network']} are worth"
    figures_page(path, title, lead, sections, _notes(summary))


def _notes(summary: Mapping[str, Any]) -> list[str]:
    notes = [
        f"Accuracy is of {summary['images']['test']:,} test images. A variant and the network are "
        "compared seed by seed and image by image; the intervals are of 95 %, for other trainings "
        "and other images alike. Of twenty intervals one misses by chance.",
        "A variant changes one thing and nothing else is tuned again; longer training may change "
        "what it is worth.",
    ]
    if summary["unchanged"]:
        notes.append(f"These change nothing in this network: {', '.join(summary['unchanged'])}.")
    failed = [row for row in summary["rows"] if "reason" in row]
    return notes + [f"{row['words']}: not trained to the end ({row['reason']})." for row in failed]


def _differences(rows: Rows) -> Section:
    """Difference in accuracy by variant, the worst below."""
    shown = sorted(rows[1:], key=lambda row: float(row["difference"]))
    figure = blank("difference in test accuracy (points)", "")
    figure.add_vline(0, line={"color": GREY, "dash": "dash"})
    for told, colour, name in ((True, ORANGE, "told apart"), (False, BLUE, "not told apart")):
        some = [row for row in shown if _told(row) is told]
        points = [100 * row["difference"] for row in some]
        bars = {
            "array": [100 * (row["difference_high"] - row["difference"]) for row in some],
            "arrayminus": [100 * (row["difference"] - row["difference_low"]) for row in some],
        }
        figure.add_scatter(
            x=points, y=[row["words"] for row in some], error_x=bars, mode="markers",
            marker={"color": colour, "size": 10}, hoverinfo="text", name=name,
            hovertext=[_hover(row) for row in some],
        )  # fmt: skip
    names = [row["words"] for row in shown]
    figure.update_yaxes(categoryorder="array", categoryarray=names, automargin=True)
    words = (
        "The accuracy of each variant less that of the network: left of the line a variant is "
        "worse. Bars are 95 % intervals."
    )
    return Section("Accuracy beside the network's", words, figure)


def _told(row: Mapping[str, Any]) -> bool:
    return not row["difference_low"] <= 0 <= row["difference_high"]


def _against_cost(rows: Rows) -> Section:
    """Accuracy against latency or, where it was not measured, multiply-adds."""
    measured = rows[0]["latency_ms"] is not None
    costs = [row["latency_ms"] if measured else row["macs"] / 1e6 for row in rows]
    what = "latency (ms)" if measured else "multiply-adds (M)"
    figure = blank(what, "test accuracy")
    figure.update_xaxes(type="log").update_yaxes(tickformat=".1~%")
    figure.add_scatter(
        x=costs, y=[row["accuracy"] for row in rows], mode="markers+text", showlegend=False,
        text=[row["name"] for row in rows], cliponaxis=False,
        textposition=_places(costs),
        marker={
            "size": 10, "color": [ORANGE] + [BLUE] * (len(rows) - 1),
            "symbol": ["circle" if _told(row) or row is rows[0] else "circle-open" for row in rows],
        },
        hoverinfo="text", hovertext=[_hover(row) for row in rows],
    )  # fmt: skip
    figure.add_hline(rows[0]["accuracy"], line={"color": GREY, "dash": "dot"})
    figure.add_vline(costs[0], line={"color": GREY, "dash": "dot"})
    words = (
        "Up and to the left of where the lines cross a variant is better than the network in both. "
        "Where a circle is empty the interval of the difference in accuracy holds zero."
    )
    return Section(f"Accuracy against {what.partition(' (')[0]}", words, figure)


def _places(costs: Sequence[float]) -> list[str]:
    """Where names stand beside their points: away from the first, and inside at both ends."""
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    places = {}
    for rank, i in enumerate(order):
        left = costs[i] < costs[0]
        if i in (order[0], order[-1]):
            left = i == order[-1]
        places[i] = f"{'bottom' if rank % 2 else 'top'} {'left' if left else 'right'}"
    return [places[i] for i in range(len(costs))]


def _hover(row: Mapping[str, Any]) -> str:
    ms = row["latency_ms"]
    ends = (row["difference"], row["difference_low"], row["difference_high"])
    lines = [
        f"{row['words']}: {row['accuracy']:.1%}",
        "{:+.2f} points ({:+.2f} to {:+.2f})".format(*(100 * end for end in ends)),
        f"{ms:.4g} ms, {row['latency_ratio']:.2f} times" if ms else "",
        f"{row['macs']:,} MACs, {row['macs_ratio']:.2f} times",
        f"{row['params']:,} parameters, {row['params_ratio']:.2f} times",
    ]
    return "<br>".join(line for line in lines if line)
