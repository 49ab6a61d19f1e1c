"""What a search prints while it runs and leaves when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from nas.arch.arch import Arch
from nas.arch.serialization import dumps
from nas.core.files import write_all, write_text
from nas.core.run_folder import write_json
from nas.data.dataset import ImageData
from nas.data.dense import DenseData
from nas.report.frames import as_rows, front_of, published_rows
from nas.report.verdicts import describe_fidelity, describe_gain, describe_refined_gains
from nas.search.finalists import measure_fidelity
from nas.search.problem import Problem
from nas.search.random_baseline import gain_over_random
from nas.space.bounds import cost_bounds
from nas.space.choices import choices, size
from nas.stats.pareto import best_under
from search_spaces.lookup import at_width

# Latency of the winner by the table and measured whole may differ by this much; more is said aloud.
AGREES = 0.05
MIN_COMPARED = 3  # networks, for an order to have any meaning


def print_space(console: Console, name: str, space: Arch, data: ImageData | DenseData) -> None:
    """What is about to be searched."""
    low, high = cost_bounds(space)
    console.print(
        f"space     {name} · {len(choices(space))} choices · {size(space):.2g} genomes · MACs "
        f"{low.macs / 1e6:.3g} to {high.macs / 1e6:.3g} M · parameters {low.params / 1e6:.3g} to "
        f"{high.params / 1e6:.3g} M"
    )
    console.print(f"data      {data.described()}")


def print_target(console: Console, problem: Problem, target: float | str) -> None:
    """What the target is, and where it lies in the space."""
    named = f", of {at_width(target, problem.width)}" if isinstance(target, str) else ""
    reach, max_ms = problem.latency_range, problem.max_ms
    rule = "all are trained" if max_ms == math.inf else f"none is trained over {max_ms:.3g} ms"
    rule += f" or below {least:.3g} ms" if (least := problem.limits.min_latency_ms) else ""
    console.print(
        f"target    {problem.target_ms:.3g} ms{named} · {rule} · the space reaches from "
        f"{reach.fastest[0]:.3g} to {reach.slowest[0]:.3g} ms, "
        f"{reach.share_within(problem.target_ms):.0%} of random networks are within the target"
    )


def count_states(trials: pd.DataFrame) -> dict[str, int]:
    """What became of the trials."""
    counts = {"asked": len(trials), "distinct": int(trials["id"].nunique())}
    words = {"complete": "evaluated", "duplicate": "duplicates"}
    for state in ("complete", "infeasible", "pruned", "failed", "duplicate"):
        counts[words.get(state, state)] = int((trials["state"] == state).sum())
    return counts


def judge_fidelity(scored: pd.DataFrame, trained: pd.DataFrame) -> dict[str, Any] | None:
    """How far the judge's order was that of training; None where too few were trained."""
    alone = trained[trained["state"] == "complete"][["number", "score"]]
    both = alone.merge(scored[["number", "score"]], on="number", suffixes=("_alone", "")).dropna()
    if len(both) < MIN_COMPARED:
        return None
    return measure_fidelity(both["score"].to_numpy(), both["score_alone"].to_numpy())


def summarise(
    trials: pd.DataFrame, references: pd.DataFrame, target_ms: float, ranked_by: str = "accuracy"
) -> dict[str, Any]:
    """The figures of summary.json: counts, front, published networks, winner.

    The winner is the most accurate network within the target (by what the front is `ranked_by`),
    or the fastest where none is.
    """
    front = front_of(trials, ranked_by)
    published = published_rows(trials, references)
    rows = as_rows(front)
    best = best_under(front[ranked_by].to_numpy(), front["latency_ms"].to_numpy(), target_ms)
    winner = rows[best or 0] if rows else None
    measured = winner["measured_ms"] if winner else None
    off = measured / winner["latency_ms"] - 1 if winner and measured is not None else None
    return {
        **count_states(trials),
        "target_ms": target_ms,
        "target_met": best is not None,
        "winner": winner,
        "winner_latency_off": off,
        "winner_measured_within": None if measured is None else measured <= target_ms,
        "winner_latency_agrees": None if off is None else abs(off) <= AGREES,
        "front": rows,
        "published": as_rows(published[published["state"] == "complete"]),
    }


@dataclass(frozen=True)
class Outcome:
    """The networks of a search as tables."""

    trials: pd.DataFrame  # all that the sampler proposed
    trained: pd.DataFrame  # `trials`, or the networks that have an accuracy of their own
    references: pd.DataFrame  # published networks that are no trials
    random: pd.DataFrame  # of a random search, judged like the trials
    is_scored: bool  # whether a judge only scored the trials
    ranked_by: str = "accuracy"  # or "score", which tells networks apart that are near each other
    labelled: Collection[str] = ()  # ids of networks that the judge learnt from


def write_results(
    folder: Path,
    outcome: Outcome,
    *,
    target_ms: float,
    measured: Mapping[str, float],
    arch_of: Callable[[str], Arch],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the tables and networks of a search, and return what summary.json holds.

    `measured` are milliseconds of networks timed whole, by id.
    """
    trials, trained, random = outcome.trials, outcome.trained, outcome.random
    for frame in (trained, outcome.references):
        frame["measured_ms"] = frame["id"].map(measured).astype(float)
    by = outcome.ranked_by
    summary = {**about, **summarise(trained, outcome.references, target_ms, by)}
    front, winner = front_of(trained, by), summary["winner"]
    distinct = trials[trials["state"] != "duplicate"]
    whole = distinct["score"].where(distinct["state"] == "complete")  # not of a stopped training
    summary["versus_random"] = gain_over_random(distinct.assign(score=whole), random)
    if outcome.is_scored:
        unseen = trained[~trained["id"].isin(outcome.labelled)]
        fidelity = judge_fidelity(trials, unseen)
        states = trained["state"].value_counts()
        summary |= {**count_states(trials), "fidelity": fidelity}
        summary |= {"trained": int(states.get("complete", 0))}
        summary |= {"trained_failed": int(states.get("failed", 0))}
    tables = {"trials": trials, "pareto": front}
    tables |= {"random": random} if len(random) else {}
    tables |= {"trained": trained} if trained is not trials and len(trained) else {}
    for name, rows in tables.items():
        write_text(folder / f"{name}.csv", rows.to_csv(index=False))
    archs = [arch_of(key) for key in front["id"]]
    write_front(folder, archs, summary["front"], winner, about.get("metric", "accuracy"))
    write_json(folder / "summary.json", summary)
    return summary


def write_front(
    folder: Path,
    archs: Sequence[Arch],
    rows: Sequence[Mapping[str, Any]],
    winner: Any,
    metric: str = "accuracy",
) -> None:
    """The networks of the front, fastest first, and the winner again, as YAML files."""
    texts = [as_yaml(arch, row, metric) for arch, row in zip(archs, rows, strict=True)]
    for text, row in zip(texts, rows, strict=True):
        if row is winner:
            write_text(folder / "winner.yaml", text)
    write_all(folder / "front", ".yaml", {f"{i:02d}": text for i, text in enumerate(texts, 1)})


def as_yaml(arch: Arch, row: Mapping[str, Any], metric: str = "accuracy") -> str:
    """A network as YAML, under a line of its figures."""
    return (
        f"# {metric} {row['accuracy']:.4f} ± {row['accuracy_se']:.4f} (validation), "
        f"{row['test_accuracy']:.4f} (test), {row['latency_ms']:.4f} ms, "
        f"{row['macs']:,} MACs, {row['params']:,} parameters, id {row['id']}\n{dumps(arch)}"
    )


def print_front(console: Console, summary: Mapping[str, Any]) -> None:
    """The front as a table, the winner starred."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    metric = summary.get("metric", "accuracy")
    numbers = (metric, "test", "latency", "measured", "MACs", "parameters")
    for name in ("front", *numbers, "network"):
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for rank, row in enumerate(summary["front"], 1):
        table.add_row(f"{rank}{' ★' if row == summary['winner'] else ''}", *_cells(row))
    console.print(table)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['accuracy']:.1%} ± {row['accuracy_se']:.1%}",
        f"{row['test_accuracy']:.1%}",
        f"{row['latency_ms']:.3g} ms",
        "" if row["measured_ms"] is None else f"{row['measured_ms']:.3g} ms",
        f"{row['macs'] / 1e6:.2f} M",
        f"{row['params'] / 1e6:.3f} M",
        f"{row['id']} {row['name']}".strip(),
    )


def describe_counts(summary: Mapping[str, Any]) -> str:
    """How many networks were proposed, judged and trained, and in how many seconds."""
    how = "solved" if summary.get("accuracy") == "inherited" else "trained"
    parts = [
        f"spent {summary['asked']}, distinct {summary['distinct']}",
        f"{summary['evaluated']} {'scored' if 'trained' in summary else how}",
        f"{summary['pruned']} stopped early",
        f"{summary['infeasible']} over a limit",
        f"{summary['failed']} failed",
    ]
    if "trained" in summary:
        parts.append(f"{summary['trained']} trained, {summary['trained_failed']} failed")
    return " · ".join([*parts, f"{summary['seconds']:.0f} s"])


def print_winner(console: Console, summary: Mapping[str, Any]) -> None:
    """The counts, the winner, and the best published network within the same target."""
    console.print(f"searched  {describe_counts(summary)}")
    if gain := summary.get("versus_random"):
        console.print(f"search    {describe_gain(gain)}")
    if fidelity := summary.get("fidelity"):
        console.print(f"fidelity  {describe_fidelity(fidelity)}")
    winner, target = summary["winner"], summary["target_ms"]
    if not winner:
        console.print("winner    none: no network was trained (trials.csv has the reasons)")
        return
    if not summary["target_met"]:
        console.print(f"no network is within {target:.3g} ms; the fastest of the front stands in:")
    place = 1 + summary["front"].index(winner)
    console.print(f"winner    {_format_network(winner)}, no. {place} on the front, {winner['id']}")
    console.print(f"          {winner['arch']}", soft_wrap=True)
    if (off := summary["winner_latency_off"]) is not None:
        word = "agrees with" if summary["winner_latency_agrees"] else "DISAGREES with"
        over = winner["measured_ms"] > target >= winner["latency_ms"]
        console.print(
            f"measured  {winner['measured_ms']:.3g} ms as a whole, which {word} the table "
            f"({off:+.1%})" + (" and is over the target" if over else "")
        )
    if "compared" in summary:  # with more than published networks
        return
    if within := [row for row in summary["published"] if row["latency_ms"] <= target]:
        best = _format_network(max(within, key=lambda row: float(row["accuracy"])))
        console.print(f"published {best} (the best of {len(within)} within the target)")


def print_refined(console: Console, refined: Mapping[str, Any]) -> None:
    """The network that was shrunk to the target, and what that gained or lost."""
    start, steps, measured = (refined[key] for key in ("start", "steps", "measured_ms"))
    whole = "" if measured is None else f" · {measured:.3g} ms measured as a whole"
    console.print(f"refined   {_format_network(refined)}, {refined['id']}")
    console.print(f"          {refined['arch']}", soft_wrap=True)
    console.print(
        f"          in {len(steps)} steps from {start['id']} of {start['latency_ms']:.3g} ms{whole}"
    )
    for line in describe_refined_gains(refined):
        console.print(f"          {line}")


def _format_network(row: Mapping[str, Any]) -> str:
    name = f" {row['name']}" if row["name"] else ""
    whole = row["float_accuracy"]
    bits = "" if whole is None else f", in float32 {whole:.1%}"
    return (
        f"{row['accuracy']:.1%} ± {row['accuracy_se']:.1%} (test {row['test_accuracy']:.1%}{bits}) "
        f"at {row['latency_ms']:.3g} ms{name}"
    )
