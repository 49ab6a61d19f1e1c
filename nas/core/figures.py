"""Pages of plotly figures with words beside them: one file each, offline, light and dark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from math import inf
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from nas.core.files import write_text

# Okabe and Ito 2008, "Color Universal Design": hues that colour-blind readers tell apart.
ORANGE, GREEN, BLUE, GREY = "#D55E00", "#009E73", "#0072B2", "#888888"

# How many times its least value an axis reaches, at most, and the digits that are labelled on it.
LABELS = {5: (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), 30: (1, 2, 3, 5, 7), inf: (1, 2, 5)}

# Draws what `laid_out` laid out, where the page's data has it as `figures`.
SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


class Section(NamedTuple):
    """A figure, its heading, and what it says in plain words."""

    heading: str
    words: str
    figure: go.Figure


def figures_page(
    path: Path, title: str, lead: Sequence[str], sections: Sequence[Section], notes: Sequence[str]
) -> None:
    """Write a page that shows one figure below the other."""
    parts, figures = laid_out(sections)
    data = {"figures": figures}
    write_page(path, title, lead, notes, main="".join(parts), data=data, script=SCRIPT)


def laid_out(sections: Sequence[Section], level: int = 2) -> tuple[list[str], list[dict[str, Any]]]:
    """The HTML of each section, headings of that `level`; the figures that SCRIPT draws there."""
    for section in sections:
        label_logarithms(section.figure)
    parts = [
        f"<section><h{level}>{escape(section.heading)}</h{level}><p>{escape(section.words)}</p>"
        f'<div class="figure" role="img" aria-label="{escape(section.words, quote=True)}" '
        f'id="figure{i}"></div></section>'
        for i, section in enumerate(sections)
    ]
    return parts, [json.loads(section.figure.to_json()) for section in sections]


def write_page(
    path: Path,
    title: str,
    lead: Sequence[str],
    notes: Sequence[str],
    *,
    main: str,
    data: Any,
    script: str,
    style: str = "",
) -> None:
    """Write a page to `path`, whole or not at all; plotly.js is inside it (5 MB).

    `main` is HTML.  `script` is JavaScript; it finds there `data`, `css` and `plot` of page.html.
    """
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    page = Template(template).substitute(
        title=escape(title),
        lead="".join(f"<p>{escape(line)}</p>" for line in lead),
        main=main,
        notes=as_list(notes),
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        script=script,
        style=style,
        plotly=get_plotlyjs(),
    )
    write_text(path, page)


def as_list(lines: Sequence[str]) -> str:
    """Lines as an HTML list; "" for none."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def blank(x: str, y: str, log: bool = False) -> go.Figure:
    """An empty figure with the titles of its axes."""
    kind = "log" if log else "-"
    figure = go.Figure(layout={"template": "none"})
    return figure.update_xaxes(title_text=x, type=kind).update_yaxes(title_text=y, type=kind)


def label_logarithms(figure: go.Figure) -> None:
    """Label logarithmic axes, the more closely the shorter their range is."""
    for letter, axis in (("x", figure.layout.xaxis), ("y", figure.layout.yaxis)):
        if axis.type != "log":
            continue
        shown = [trace[letter] for trace in figure.data if trace[letter] is not None]
        values = [v for some in shown for v in some if v and v > 0] or [1]
        span = max(values) / min(values)
        digits = next(digits for most, digits in LABELS.items() if span < most)
        ticks = [float(f"{digit}e{power}") for power in range(-6, 7) for digit in digits]
        axis.update(tickvals=ticks, ticktext=[f"{tick:.9g}" for tick in ticks])
