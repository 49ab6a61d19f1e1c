"""The report as one page: what is drawn and said; its .css and .js say how it looks and reacts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from nas.core.figures import SCRIPT, as_list, laid_out
from nas.core.figures import write_page as write_html
from nas.report.choices import (
    Importance,
    Preference,
    importances,
    parallel_coordinates,
    preferences,
    short,
)
from nas.report.cuts import NOTES, cut_sections
from nas.report.fronts import advice, axis_view, counts, table
from nas.report.kept_run import KeptRun, metric_of, origin_of
from nas.report.metrics import AXES, Metric
from nas.report.networks import networks
from nas.report.prices import COLUMNS
from nas.report.scores import score_sections
from nas.report.verdicts import (
    Facts,
    differences,
    notes,
    subtitle,
    surroundings,
    verdicts,
    warnings,
)

HERE = Path(__file__)
PARTS = ("report.css", "network.js", "chart.js", "budget.js")
SHOWN_IMPORTANCES = 15
KINDS = "kernel first_kernel expand width depth se act"  # in the order of the heat map's columns
# Ids of the places that chart.js and network.js fill.
CHOOSE = """\
<section id="choose" aria-labelledby="choose-title"><h2 id="choose-title">Choose a network</h2>
<div class="controls">
<div role="group" aria-label="horizontal axis" id="axes">{metric} against {buttons}</div>
<span><label for="colour">colour</label> <select id="colour"></select></span>
<span class="budget"><label for="budget">my limit is</label>
<input type="range" id="budget" min="0" max="1000" step="1">
<input type="number" id="amount" min="0" step="any" aria-label="my limit, as a number">
<span id="unit"></span></span>
</div>
<p id="best" role="status" aria-live="polite"></p>
<div id="chart" tabindex="0" role="application" aria-roledescription="chart"
 aria-describedby="chart-help"></div>
<p id="chart-help" class="small">Click a point, or walk along the front with the arrow keys while
the chart has the focus: its network is drawn below. The same is in the table.
<button id="save-svg">save as SVG</button> <button id="save-png">save as PNG</button></p>
{sections}
</section>
<section id="network" aria-labelledby="network-title" tabindex="-1">
<h2 id="network-title">The network</h2><div id="network-body"></div></section>
"""


def write_page(runs: Sequence[KeptRun], path: Path) -> None:
    """Write the page of one run, or of several overlaid, whole or not at all."""
    views = [view for axis in AXES if (view := axis_view(runs, axis))]
    views = views if any(len(run.trained) for run in runs) else []
    drawn = networks(runs)
    rest, figures = _rest(runs)
    data = {
        "runs": [_identity(run) for run in runs],
        "metric": metric_of(runs),
        "origin": origin_of(runs),
        "axes": views,
        "networks": drawn,
        "columns": COLUMNS,
        "choices": {pick: short(pick) for network in drawn for pick in network["picks"]},
        "figures": figures,
    }
    style, *scripts = (HERE.with_name(name).read_text(encoding="utf-8") for name in PARTS)
    title, lead = _heading(runs)
    main = _warnings(runs) + (_choose(runs, views) if views else "") + rest
    script = "\n".join([SCRIPT, *(scripts if views else [])])
    lines = notes([run.summary for run in runs])
    write_html(path, title, lead, lines, main=main, data=data, script=script, style=style)


def _identity(run: KeptRun) -> dict[str, Any]:
    return {"label": run.label, "name": run.name}


def _heading(runs: Sequence[KeptRun]) -> tuple[str, list[str]]:
    """The title of the page, and the lines below it."""
    if len(runs) > 1:
        lead = [f"{run.label}: {subtitle(run.summary)}. {' '.join(counts(run))}" for run in runs]
        return f"{len(runs)} searches: {', '.join(run.label for run in runs)}", lead
    (run,) = runs
    about = run.summary
    title = f"{about['space']} on {about['data']}" if about else run.label
    return title, [subtitle(about), *counts(run)]


def _choose(runs: Sequence[KeptRun], views: Sequence[dict[str, Any]]) -> str:
    buttons = " ".join(
        f'<button value="{view["name"]}" aria-pressed="false">{view["label"]}</button>'
        for view in views
    )
    axes = {axis.column: axis for axis in AXES}
    sections = "".join(
        f'<div class="front" id="{view["name"]}" hidden>'
        + "".join(_front(runs, index, axes[view["name"]]) for index in range(len(runs)))
        + "</div>"
        for view in views
    )
    return CHOOSE.format(metric=metric_of(runs), buttons=buttons, sections=sections)


def _front(runs: Sequence[KeptRun], index: int, axis: Metric) -> str:
    run = runs[index]
    heading = f"<h3>{escape(run.label)}</h3>" if len(runs) > 1 else ""
    return f'{heading}{advice(run, axis)}<div data-run="{index}">{table(run, axis)}</div>'


def _rest(runs: Sequence[KeptRun]) -> tuple[str, list[dict[str, Any]]]:
    """The sections below the network, and their figures; choices and scores of one run only."""
    parts: list[str] = []
    if len(runs) == 1:
        choices = parallel_coordinates(runs[0])
        sections = [*choices, *score_sections(runs[0])]
        cuts = cut_sections(runs[0].blocks)
        pieces, figures = laid_out([*sections, *cuts], level=3)
        first, last = len(choices), len(sections)
        chosen, scores, cut = (
            "".join(p) for p in (pieces[:first], pieces[first:last], pieces[last:])
        )
        parts += [_section("Which choices matter", _choices(runs[0]) + chosen, "choices")]
        parts += [_section("How far to trust it", _trust(runs) + scores, "trust")]
        parts += [_section("What each cut costs", cut + as_list(NOTES), "cuts")] if cuts else []
    else:
        figures = []
        words = (
            "Choices and scores are in the report of one run: <code>python -m nas.report RUN</code>"
        )
        parts += [_section("How far to trust it", _trust(runs) + f"<p>{words}</p>", "trust")]
    tables = "".join(_facts(surroundings(run), run.label, len(runs) > 1) for run in runs)
    return "".join([*parts, _section("Where it was made", tables, "environment")]), figures


def _section(heading: str, body: str, key: str) -> str:
    if not body:
        return ""
    return (
        f'<section id="{key}" aria-labelledby="{key}-title">'
        f'<h2 id="{key}-title">{escape(heading)}</h2>{body}</section>'
    )


def _warnings(runs: Sequence[KeptRun]) -> str:
    named = [f"{run.label}: " if len(runs) > 1 else "" for run in runs]
    lines = differences(runs) + [
        f"{name}{line}" for name, run in zip(named, runs, strict=True) for line in warnings(run)
    ]
    return f'<div role="note" class="warnings">{as_list(lines)}</div>' if lines else ""


def _trust(runs: Sequence[KeptRun]) -> str:
    return "".join(_facts(verdicts(run), run.label, len(runs) > 1) for run in runs)


def _facts(facts: Facts, name: str, named: bool) -> str:
    heading = f"<h3>{escape(name)}</h3>" if named else ""
    rows = "".join(f"<dt>{escape(what)}</dt><dd>{escape(words)}</dd>" for what, words in facts)
    return f"{heading}<dl>{rows}</dl>"


def _choices(run: KeptRun) -> str:
    found = importances(run)
    return (_importances(found, run) if found else "") + _preferences(preferences(run))


def _importances(found: Sequence[Importance], run: KeptRun) -> str:
    rows = "".join(
        f'<tr><th scope="row" title="pick.{escape(i.choice)}">{escape(short(i.choice))}</th>'
        f"{_bar(i.score)}{_bar(i.latency)}</tr>"
        for i in found[:SHOWN_IMPORTANCES]
    )
    more = f" The first {SHOWN_IMPORTANCES} of {len(found)} choices." * (
        len(found) > SHOWN_IMPORTANCES
    )
    networks = "random networks"
    if run.sampled is run.judged:
        networks = (
            "networks that the search proposed, many of them relatives, which makes choices "
            "without any effect look as if they had some,"
        )
    words = (
        f"The share of the variance of {len(run.sampled)} {networks} that a choice explains by "
        "itself (epsilon squared, the correlation ratio less what chance gives). Choices act "
        f"together, so the shares do not add up.{more}"
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("choice", "score", "latency (log)"))
    return (
        f"<h3>What each choice explains by itself</h3><p>{escape(words)}</p>"
        f'<div class="wide"><table class="bars"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _bar(share: float) -> str:
    return (
        f'<td><span class="bar" style="width:{100 * share:.1f}%"></span>'
        f"<span>{share:.0%}</span></td>"
    )


def _preferences(found: Sequence[Preference]) -> str:
    """The heat map, as a table of stages by kinds."""
    if not found:
        return ""
    stages = list(dict.fromkeys(p.stage for p in found))
    kinds = sorted({p.kind for p in found}, key=lambda kind: (KINDS.find(kind) % 99, kind))
    cells = {(p.stage, p.kind): p for p in found}
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("", *kinds))
    body = "".join(
        f'<tr><th scope="row">{escape(stage)}</th>'
        + "".join(_cell(cells.get((stage, kind))) for kind in kinds)
        + "</tr>"
        for stage in stages
    )
    words = (
        "What the front of scores takes in each stage against every option of each block alike, "
        "which is what drawing at random gives: the mean option and ▲ or ▼, or the option that is "
        "taken most. The stronger the colour, the more they differ (total variation, 0 to 1). The "
        "networks of a front are relatives and agree in choices without any effect, too: what "
        "matters is above. Of a stage that a network leaves out only its depth counts."
    )
    return (
        f"<h3>How the front differs from random networks, stage by stage</h3><p>{words}</p>"
        f'<div class="wide"><table class="heat"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(p: Preference | None) -> str:
    if p is None:
        return '<td aria-label="no such choice"></td>'
    first, _, rest = p.words.partition(" (")
    return (
        f'<td style="--d:{p.distance:.2f}" title="differs by {p.distance:.2f}">{escape(first)}'
        f"<small>{escape(rest.rstrip(')'))}</small></td>"
    )
