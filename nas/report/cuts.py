"""A shrunk network: block by block before and after, and what each cut costs."""

from __future__ import annotations

import pandas as pd

from nas.core.figures import BLUE, GREY, ORANGE, Section, blank

LEAST_NATS = 1e-5  # of a logarithmic axis: what is below changes no answer
NOTES = (
    "A cut's cost is how far the whole network's answers on validation pictures move when that "
    "block alone is replaced: Kullback-Leibler divergence in nats, no label is read.",
    "The choice minimises the sum of these costs within the latency. Cuts add up only roughly, "
    "so the networks that it proposes are judged as a whole.",
    "Milliseconds of a block are what it adds to a network's sum in the latency table.",
)


def cut_sections(blocks: pd.DataFrame) -> list[Section]:
    """The winner's side, of the rows of blocks.csv; [] where there are none."""
    if not len(blocks) or not blocks["chosen"].any():
        return []
    chosen = blocks[blocks["chosen"]]
    side = chosen["side"].iloc[0]
    own = blocks[blocks["own"] & (blocks["side"] == side)]
    known = blocks[blocks["side"] == side]
    return [_before_and_after(own, chosen), _cuts(known, own, chosen)]


def _before_and_after(own: pd.DataFrame, chosen: pd.DataFrame) -> Section:
    """Hidden channels of every block, its own and the chosen ones; kernels as text."""
    figure = blank("block", "hidden channels")
    for rows, name, colour in ((own, "before", GREY), (chosen, "after", BLUE)):
        texts = [f"{k}x{k}" if hidden else "left out" for k, hidden in _pairs(rows)]
        figure.add_bar(
            x=[place.replace("_", "<br>") for place in rows["place"]],
            y=rows["hidden"].tolist(),
            text=texts,
            textposition="outside",
            name=name,
            marker={"color": colour},
            hovertemplate="%{x}: %{y} channels, %{text}",
        )
    figure.update_layout(barmode="group")
    before, after = own["ms"].sum(), chosen["ms"].sum()
    kept = chosen["hidden"].sum() / max(own["hidden"].sum(), 1)
    words = (
        f"The blocks keep {kept:.0%} of their hidden channels and take {after:.3g} ms instead of "
        f"{before:.3g}; {(chosen['hidden'] == 0).sum()} of {len(own)} are left out. Above each bar "
        "stands its kernel."
    )
    return Section("Block by block, before and after", words, figure)


def _pairs(rows: pd.DataFrame) -> list[tuple[int, int]]:
    return [
        (int(kernel), int(hidden))
        for kernel, hidden in rows[["kernel", "hidden"]].itertuples(index=False, name=None)
    ]


def _cuts(known: pd.DataFrame, own: pd.DataFrame, chosen: pd.DataFrame) -> Section:
    """Cost in answers against milliseconds saved, a line a block through its best cuts."""
    figure = blank("milliseconds saved", "cost of the cut (nats)")
    figure.update_yaxes(type="log")
    own_ms = dict(zip(own["place"], own["ms"], strict=True))
    for place, rows in known.groupby("place", sort=False):
        line = best_cuts(rows.assign(saved=own_ms[place] - rows["ms"]))
        figure.add_scatter(
            x=line["saved"].tolist(),
            y=line["nats"].clip(lower=LEAST_NATS).tolist(),
            text=[f"{place}: {label}" for label in line["label"]],
            mode="lines+markers",
            line={"color": GREY, "width": 1},
            marker={"size": 4, "color": GREY},
            hovertemplate="%{text}<br>%{x:.3g} ms saved for %{y:.2g} nats",
            name=str(place),
            showlegend=False,
        )
    cut = chosen[~chosen["own"]]
    figure.add_scatter(
        x=[own_ms[place] - ms for place, ms in zip(cut["place"], cut["ms"], strict=True)],
        y=cut["nats"].clip(lower=LEAST_NATS).tolist(),
        text=[place.replace("stage", "").replace("_block", ".") for place in cut["place"]],
        mode="markers+text",
        textposition="top center",
        marker={"size": 9, "color": ORANGE, "symbol": "star"},
        name="chosen",
        hovertemplate="%{text}<br>%{x:.3g} ms saved for %{y:.2g} nats",
    )
    words = (
        "Each line is a block, each point a cut that no other of that block beats; stars are what "
        "was chosen (2.1 is the first block of stage 2). To the right and low is cheap."
    )
    return Section("What each cut costs, and what it saves", words, figure)


def best_cuts(rows: pd.DataFrame) -> pd.DataFrame:
    """The cuts that save more than every one that costs less."""
    rows = rows[rows["saved"] > 0].sort_values(["nats", "saved"], ascending=[True, False])
    return rows[rows["saved"] > rows["saved"].cummax().shift(fill_value=0.0)]
