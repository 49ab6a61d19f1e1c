"""What `nas.rediscover` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.arch.arch import Arch
from nas.arch.serialization import dumps
from nas.core.files import write_all, write_text
from nas.core.run_folder import environment, write_json
from nas.rediscover.page import rediscovery_page
from nas.rediscover.patterns import Rows
from nas.rediscover.settings import RediscoverSettings
from nas.rediscover.verdict import is_reliable
from nas.search.problem import LATENCY_SLACK
from nas.stats.rewards import MNAS_EXPONENT

TABLE_WIDTH = 110
SMALL_EXPONENT = -0.15  # of MobileNetV3-Small's search (Howard et al. 2019, section 4.1)
Summary = Mapping[str, Any]


def write_results(
    settings: RediscoverSettings,
    folder: Path,
    summary: Summary,
    winners: Sequence[Arch],
    rows: Sequence[Rows],
    like: Mapping[str, Rows],
) -> None:
    """Write all that the command leaves, summary.json last."""
    made_with = environment(seed=settings.seed, latency=settings.latency.make().describe())
    write_json(folder / "environment.json", made_with)
    runs = [search["run"] for search in summary["searches"]]
    networks = {name: dumps(arch) for name, arch in zip(runs, winners, strict=True)}
    write_all(folder / "networks", ".yaml", networks)
    write_text(folder / "rediscovery.md", as_markdown(summary))
    names = {s["run"]: found for s, found in zip(summary["searches"], rows, strict=True)}
    rediscovery_page(folder / "rediscovery.html", summary, names | dict(like))
    write_json(folder / "summary.json", summary)


def print_results(console: Console, summary: Summary, folder: Path) -> None:
    """Print what was found, a line each."""
    for row in summary["hypotheses"] if is_reliable(summary["taus"]) else ():
        console.print(f"tested    {describe_hypothesis(row)}")
    for row in summary["worth"]["tested"] + summary["worth"]["plain"]:
        console.print(f"worth     {describe_worth(row)}")
    for row in summary["agreement"]:
        console.print(f"alike     {describe_agreement(row)}")
    for row in summary["quality"]:
        console.print(f"against   {describe_quality(row)}")
    for line in describe_rewards(summary):
        console.print(f"reward    {line}")
    for line in summary["conclusion"]:
        console.print(f"so        {line}", style="bold")
    console.print(
        f"wrote     {folder}/: rediscovery.html rediscovery.md summary.json networks/ ..."
    )


def describe_hypothesis(row: Mapping[str, Any]) -> str:
    """One test in words."""
    verdict = "told from random" if row["found"] else "not told from random"
    return (
        f"{row['words']}: {row['searched']:+.2f} searched, {row['random']:+.2f} random, "
        f"{row['published']:+.2f} published; {row['difference']:+.2f} "
        f"({row['low']:+.2f} to {row['high']:+.2f}), p {row['p']:.2g} ({row['holm']:.2g} of "
        f"the family): {verdict}"
    )


def describe_worth(row: Mapping[str, Any]) -> str:
    """What more of a number gains among trained networks, in words."""
    verdict = "told from chance" if row["found"] else "not told from chance"
    return (
        f"{row['words']}: {100 * row['gain']:+.2f} points ({100 * row['low']:+.2f} to "
        f"{100 * row['high']:+.2f}) by a standard deviation more of it, p {row['p']:.2g} "
        f"({row['holm']:.2g} of the family), {row['networks']} networks: {verdict}"
    )


def describe_agreement(row: Mapping[str, Any]) -> str:
    """How far winners choose as a published network, in words."""
    return (
        f"{row['searched']:.0%} of the choices of {row['name']}; random networks "
        f"{row['random']:.0%} ({row['low']:.0%} to {row['high']:.0%}), p {row['p']:.2g}"
    )


def describe_quality(row: Mapping[str, Any]) -> str:
    """What the winners gain over a rival, in words."""
    return (
        f"{100 * row['gain']:+.1f} points ({100 * row['gain_low']:+.1f} to "
        f"{100 * row['gain_high']:+.1f}) over {row['name']} ({row['network']}, "
        f"{row['accuracy']:.1%}, {row['latency_ratio']:.2f} times the latency)"
    )


def describe_rewards(summary: Summary) -> list[str]:
    """The exponent that the front says, and where each reward ended."""
    found = [w for w in summary["exponents"].values() if w is not None]
    lines = [
        f"the front of the whole space is worth an exponent of {found[0]:.3f} by its judge "
        f"(MnasNet {MNAS_EXPONENT}, MobileNetV3-Small {SMALL_EXPONENT})"
        for _ in found[:1]
    ]
    return lines + [
        f"{name} ended at {ratio:.2f} times the target (nothing over {LATENCY_SLACK:g} is judged)"
        for name, ratio in summary["rewards"].items()
    ]


def as_markdown(summary: Summary) -> str:
    """The result as a page of Markdown."""
    tests = [
        "| | searched | random | published | difference | p | of the family |",
        "|---|---|---|---|---|---|---|",
    ]
    tests += [
        f"| {row['words']}{' (either sign)' if row['two_sided'] else ''} "
        f"| {row['searched']:+.2f} | {row['random']:+.2f} | {row['published']:+.2f} "
        f"| {row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}) "
        f"| {row['p']:.2g} | {row['holm']:.2g} |"
        for row in summary["hypotheses"]
    ]
    lists = [
        [describe_worth(row) for row in summary["worth"]["tested"] + summary["worth"]["plain"]],
        [describe_agreement(row) for row in summary["agreement"]],
        [describe_quality(row) for row in summary["quality"]],
        describe_rewards(summary),
        [f"`{row['arch']}`" for row in summary["searches"]],
    ]
    heads = (
        "What trainings alone say, without a search",
        "Choices alike, slot by slot",
        "The networks found, against others as fast",
        "Rewards",
        "What was found",
    )
    parts = [
        "# Rediscovering MobileNetV3",
        *summary["conclusion"],
        describe_setting(summary),
        *(["\n".join(tests)] if is_reliable(summary["taus"]) else []),
    ]
    for head, lines in zip(heads, lists, strict=True):
        parts += [f"## {head}", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def describe_setting(summary: Summary) -> str:
    """How it was done, in a sentence or two."""
    train, val, test = summary["images"]
    return (
        f"{len(summary['searches'])} searches of {summary['trials']} networks each, in the space "
        f"{summary['space']} on {summary['data']} ({train:,} images to train a "
        f"network alone, {val:,} to choose, {test:,} to test, {summary['resolution']} pixels), "
        f"within {summary['target_ms']:.3g} ms, "
        f"each judged by {summary['judge']}; "
        f"{summary['num_controls']} random networks as fast; trainings of {summary['epochs']} "
        "epochs."
    )
