"""The page of a rediscovery: searched networks beside random and published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.core.figures import BLUE, GREEN, GREY, ORANGE, Section, blank, figures_page
from nas.rediscover.patterns import Rows
from nas.rediscover.verdict import is_reliable

Summary = Mapping[str, Any]
SHARES = ("SE", "kernel 5 and more", "h-swish")
RATIOS = ("expansion ratio", "of first blocks")
COLOURS = {3: BLUE, 5: ORANGE, 7: GREEN}  # by kernel
LARGEST = 22  # size of the dot of an expansion ratio of 6


def rediscovery_page(path: Path, summary: Summary, networks: Mapping[str, Rows]) -> None:
    """Write the page to `path`; `networks` are the winners and others to draw beside them."""
    sections = [
        _stages(summary, SHARES, "Where squeeze-and-excitation, large kernels and h-swish are", 1),
        _stages(summary, RATIOS, "Where blocks expand", 6),
        *([_tests(summary)] if is_reliable(summary["taus"]) else []),
        _worth(summary["worth"]),
        _blocks(networks),
        _judges(summary),
        _quality(summary),
    ]
    notes = [
        "A search counts once, by its winner; so does a random network. p is by permuting which "
        "networks were searched, and Holm's correction is for the six tests together. They were "
        "fixed before any run was looked at.",
        f"The random networks are of the same space, at most 2 % faster than the "
        f"{summary['target_ms']:.3g} ms of the target: what latency alone asks for, they have too.",
        "The interval of the judges' mean tau is for other networks, not for other judges.",
        "The best of the random networks is that of one draw; its own luck is not in the interval.",
        f"Published: {', '.join(summary['published'])}.",
    ]
    figures_page(path, "Rediscovering MobileNetV3", summary["conclusion"], sections, notes)


def _stages(summary: Summary, names: Sequence[str], heading: str, top: float) -> Section:
    """A heat map: a row for each measure and group, a column for each stage."""
    groups, rows, values = summary["stages"], [], []
    stages = sorted({s for group in groups.values() for s in group[names[0]]})
    for name in names:
        for group, measures in groups.items():
            rows.append(f"{name} · {group}")
            values.append([measures[name].get(stage) for stage in stages])
    shown = [[None if v is None or v != v else v for v in row] for row in values]
    digits = ".0%" if top == 1 else ".1f"
    text = [["" if v is None else format(v, digits) for v in row] for row in shown]
    figure = blank("stage", "")
    figure.add_heatmap(
        z=shown, x=[str(s) for s in stages], y=rows, text=text, texttemplate="%{text}",
        colorscale="Blues", zmin=0, zmax=top, showscale=False, hoverinfo="skip", xgap=2, ygap=2,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(type="category")
    what = "Shares of the blocks" if top == 1 else "Mean expansion ratios of the blocks"
    return Section(heading, f"{what} of each stage, the mean over networks.", figure)


def _tests(summary: Summary) -> Section:
    """Difference of searched and random networks, in standard deviations of the random ones."""
    figure = blank("difference from random networks (their standard deviations)", "")
    figure.add_vline(0, line={"color": GREY, "dash": "dash"})
    for found, colour, name in ((True, ORANGE, "told apart"), (False, BLUE, "not told apart")):
        some = [r for r in summary["hypotheses"] if r["found"] is found and r["sd"] > 0]
        figure.add_scatter(
            x=[r["difference"] / r["sd"] for r in some], y=[r["words"] for r in some], name=name,
            error_x={
                "array": [(r["high"] - r["difference"]) / r["sd"] for r in some],
                "arrayminus": [(r["difference"] - r["low"]) / r["sd"] for r in some],
            },
            mode="markers", marker={"color": colour, "size": 10}, hoverinfo="text",
            hovertext=[f"{r['difference']:+.2f}, p {r['holm']:.2g} of the family" for r in some],
        )  # fmt: skip
    order = [row["words"] for row in reversed(summary["hypotheses"])]
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True)
    words = (
        "Each row is a difference within a network, such as the share of blocks with SE in the "
        "last stage less that in the first. Right of the line searched networks have more of it "
        "than random ones of the same latency. Bars are 95 % intervals."
    )
    return Section("What was tested", words, figure)


def _worth(worth: Mapping[str, Any]) -> Section:
    """What more of each number gains among trained networks."""
    figure = blank("points of accuracy by a standard deviation more of it", "")
    figure.add_vline(0, line={"color": GREY, "dash": "dash"})
    rows = worth["tested"] + worth["plain"]
    for found, colour, name in ((True, ORANGE, "told from chance"), (False, BLUE, "not told")):
        some = [r for r in rows if r["found"] is found and r["gain"] == r["gain"]]
        figure.add_scatter(
            x=[100 * r["gain"] for r in some], y=[r["words"] for r in some], name=name,
            error_x={"array": [100 * (r["high"] - r["gain"]) for r in some]},
            mode="markers", marker={"color": colour, "size": 10}, hoverinfo="text",
            hovertext=[f"{100 * r['gain']:+.2f}, p {r['holm']:.2g} of the family" for r in some],
        )  # fmt: skip
    order = [row["words"] for row in reversed(rows)]
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True)
    words = (
        f"No search has a part in this: {worth['networks']} random networks as fast as each other "
        "were trained alone. Right of the line those that have more of it are more accurate. Bars "
        "are 95 % intervals. Above are the differences that were tested, below plain choices."
    )
    return Section("What trainings alone say", words, figure)


def _blocks(networks: Mapping[str, Rows]) -> Section:
    """The blocks of each network as dots: kernel by colour, expansion by size, SE by a ring."""
    figure = blank("", "")
    slots = sorted({(row.stage, row.place) for rows in networks.values() for row in rows})
    labels = {slot: f"{slot[0]}.{slot[1] + 1}" for slot in slots}
    for kernel in sorted({row.kernel for rows in networks.values() for row in rows}):
        some = [(n, r) for n, rows in networks.items() for r in rows if r.kernel == kernel]
        figure.add_scatter(
            x=[labels[r.stage, r.place] for _, r in some], y=[name for name, _ in some],
            mode="markers", showlegend=False, hoverinfo="text",
            marker={
                "color": COLOURS.get(kernel, GREY), "size": [_size(r.expand) for _, r in some],
                "line": {"width": [3 if r.se else 0 for _, r in some], "color": "black"},
                "symbol": ["circle" if r.smooth else "square" for _, r in some],
            },
            hovertext=[
                f"kernel {r.kernel}, expansion {r.expand:.3g}, {'SE' if r.se else 'no SE'}, "
                f"{'h-swish' if r.smooth else 'ReLU'}, stride {r.stride}"
                for _, r in some
            ],
        )  # fmt: skip
        figure.add_scatter(  # for the legend
            x=[None], y=[None], mode="markers", name=f"kernel {kernel}",
            marker={"color": COLOURS.get(kernel, GREY), "size": 12},
        )  # fmt: skip
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=list(labels.values()),
        title_text="stage.block",
    )  # fmt: skip
    names = list(networks)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True)
    words = (
        "Every block of the networks found, beside MobileNetV3's: the area of a dot is its "
        "expansion ratio, its colour the kernel, a black ring squeeze-and-excitation; circles have "
        "h-swish, squares ReLU."
    )
    return Section("The networks, block by block", words, figure)


def _size(expand: float) -> float:
    return float(LARGEST * (min(expand, 6.0) / 6) ** 0.5)


def _judges(summary: Summary) -> Section:
    """Kendall's tau of each judge, of their mean with its interval, and of trainings."""
    taus, figure = summary["taus"], blank("Kendall's tau", "")
    figure.add_vline(0, line={"color": GREY, "dash": "dash"})
    names = [search["run"] for search in summary["searches"]]
    figure.add_scatter(
        x=taus["judges"], y=names, mode="markers", marker={"color": BLUE, "size": 10},
        name="each judge",
    )  # fmt: skip
    figure.add_scatter(
        x=[taus["mean"]], y=["their mean"], mode="markers", name="their mean",
        marker={"color": ORANGE, "size": 12},
        error_x={
            "array": [taus["high"] - taus["mean"]], "arrayminus": [taus["mean"] - taus["low"]],
        },
    )  # fmt: skip
    figure.add_scatter(
        x=[taus["seeds"]], y=["one training with another"], mode="markers", name="two trainings",
        marker={"color": GREEN, "size": 12},
    )  # fmt: skip
    order = ["one training with another", "their mean", *names[::-1]]
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True)
    words = (
        f"How far each judge orders {taus['networks']} random networks of the same latency as "
        "trainings of them alone do: 1 is the same order, 0 is chance."
    )
    return Section("How far the judges can be trusted", words, figure)


def _quality(summary: Summary) -> Section:
    """What the winners gain over networks that are as fast."""
    figure = blank("points of test accuracy that the networks found gain", "")
    figure.add_vline(0, line={"color": GREY, "dash": "dash"})
    rows = summary["quality"]
    figure.add_scatter(
        x=[100 * r["gain"] for r in rows], y=[_rival(r) for r in rows], mode="markers",
        marker={"color": BLUE, "size": 10}, showlegend=False,
        error_x={
            "array": [100 * (r["gain_high"] - r["gain"]) for r in rows],
            "arrayminus": [100 * (r["gain"] - r["gain_low"]) for r in rows],
        },
    )  # fmt: skip
    figure.update_yaxes(
        categoryorder="array", categoryarray=[_rival(r) for r in reversed(rows)], automargin=True
    )
    words = (
        "All are trained alike, from scratch, on the same images. Right of the line the networks "
        "found are better. Bars are 95 % intervals for other searches, trainings and images."
    )
    return Section("Are they better?", words, figure)


def _rival(row: Mapping[str, Any]) -> str:
    return f"{row['name']} (x{row['latency_ratio']:.2f} ms)"
