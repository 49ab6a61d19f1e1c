"""What a search shows while it runs and leaves when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from nas.arch.arch import Arch
from nas.arch.serialization import dumps
from nas.core.files import write_text
from nas.core.run_folder import write_json
from nas.search.finalists import fidelity
from nas.search.pareto_page import pareto_page
from nas.search.random_baseline import gain_over_random, in_words
from nas.search.scores_page import scores_page
from nas.stats.pareto import best_under, non_dominated

# Columns of a network in summary.json.
SHOWN = ("name", "accuracy", "accuracy_se", "test_accuracy", "test_accuracy_se", "latency_ms",
         "measured_ms", "macs", "params", "peak_memory_bytes", "arch", "id")  # fmt: skip
COLUMNS = ("number", "id", "state", *SHOWN[:-2], "cross_entropy", "score", "score_se", "fidelity",
           "seconds", "reason", "arch")  # fmt: skip
# Latency of the winner by the table and measured whole may differ by this much; more is said aloud.
AGREES = 0.05
LEAST_JUDGED = 3  # networks, for an order to have any meaning
# Columns that are known of every network: they are arithmetic.
WHOLE = ("number", "macs", "params", "peak_memory_bytes")


def trial_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a trial, one column a metric and a choice; unknown numbers are NaN."""
    picks = sorted({k for row in rows for k in row if k.startswith("pick.")})
    frame = pd.DataFrame(list(rows), columns=[*COLUMNS, *picks])
    texts = {"id", "state", "name", "reason", "arch", "fidelity"}
    return frame.astype({c: int if c in WHOLE else float for c in COLUMNS if c not in texts})


def front_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The networks that no other beats in both accuracy and latency, fastest first."""
    trained = trials[trials["state"] == "complete"]
    mask = non_dominated(trained[["accuracy", "latency_ms"]].to_numpy(float), (True, False))
    return trained[mask].sort_values(["latency_ms", "number"], kind="stable")


def named(trials: pd.DataFrame, beside: pd.DataFrame) -> pd.DataFrame:
    """The published networks, each once, whether they were trials or not."""
    return pd.concat([trials[trials["name"] != ""], beside]).drop_duplicates("name")


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of summary.json."""
    shown = frame.reindex(columns=SHOWN).astype({"measured_ms": object})
    shown["measured_ms"] = shown["measured_ms"].where(shown["measured_ms"].notna(), None)
    return [dict(zip(SHOWN, row, strict=True)) for row in shown.itertuples(index=False, name=None)]


def counted(trials: pd.DataFrame) -> dict[str, int]:
    """What became of the trials."""
    states = trials["state"].value_counts()
    return {
        "asked": len(trials),
        "distinct": int(trials["id"].nunique()),
        "evaluated": int(states.get("complete", 0)),
        "infeasible": int(states.get("infeasible", 0)),
        "pruned": int(states.get("pruned", 0)),
        "failed": int(states.get("failed", 0)),
        "duplicates": int(states.get("duplicate", 0)),
    }


def judged(scored: pd.DataFrame, trained: pd.DataFrame) -> dict[str, Any] | None:
    """How far the judge's order was that of training alone; None where too few were trained."""
    alone = trained[trained["state"] == "complete"][["number", "score"]]
    both = alone.merge(scored[["number", "score"]], on="number", suffixes=("_alone", "")).dropna()
    return (
        fidelity(both["score"].to_numpy(), both["score_alone"].to_numpy())
        if len(both) >= LEAST_JUDGED
        else None
    )


def summarised(trials: pd.DataFrame, beside: pd.DataFrame, target_ms: float) -> dict[str, Any]:
    """The figures of summary.json: counts, front, published networks, winner.

    The winner is the most accurate network within the target, or the fastest where none is.
    """
    front = front_of(trials)
    published = named(trials, beside)
    rows = as_rows(front)
    best = best_under(front["accuracy"].to_numpy(), front["latency_ms"].to_numpy(), target_ms)
    winner = rows[best or 0] if rows else None
    off = within = None
    if winner and winner["measured_ms"] is not None:
        off = winner["measured_ms"] / winner["latency_ms"] - 1
        within = winner["measured_ms"] <= target_ms
    return {
        **counted(trials),
        "target_ms": target_ms,
        "target_met": best is not None,
        "winner": winner,
        "winner_latency_off": off,
        "winner_measured_within": within,
        "winner_latency_agrees": None if off is None else abs(off) <= AGREES,
        "front": rows,
        "published": as_rows(published[published["state"] == "complete"]),
    }


def write_results(
    folder: Path,
    *,
    trials: pd.DataFrame,
    beside: pd.DataFrame,
    target_ms: float,
    measured: Mapping[str, float],
    scored: pd.DataFrame | None,
    random: pd.DataFrame,
    arch_of: Callable[[int], Arch],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write all that a search leaves beside its journal, and return what summary.json holds.

    `beside` are networks that were judged but are no trials; `measured` the milliseconds of
    networks that were timed whole, by id; `arch_of` gives a trial's network.  `scored` are all
    trials where a judge scored them and only `trials` of them were trained; `random` are networks
    of a random search, judged like the search's own.
    """
    for frame in (trials, beside):
        frame["measured_ms"] = frame["id"].map(measured).astype(float)
    summary = {**about, **summarised(trials, beside, target_ms)}
    front, winner = front_of(trials), summary["winner"]
    every = trials if scored is None else scored
    summary["versus_random"] = bought = gain_over_random(every, random)
    if scored is not None:
        summary |= {**counted(scored), "trained": len(trials), "fidelity": judged(scored, trials)}
    if len(every) and (scored is not None or bought):
        _write_scores(folder, summary, every, trials, random)
    tables = {"trials": every, "pareto": front, "random": random}
    tables |= {} if scored is None else {"trained": trials}
    for name, rows in tables.items():
        if len(rows) or name in {"trials", "pareto"}:
            write_text(folder / f"{name}.csv", rows.to_csv(index=False))
    pareto_page(
        trials,
        folder / "pareto.html",
        published=named(trials, beside),
        target_ms=target_ms,
        winner_id=winner["id"] if winner else None,
        title=f"{about['space']} on {about['data']}",
        subtitle=subtitle(about),
        notes=notes(about),
    )
    archs = [arch_of(number) for number in front["number"]]
    write_front(folder, archs, summary["front"], winner)
    write_json(folder / "summary.json", summary)
    return summary


def _write_scores(
    folder: Path,
    summary: Mapping[str, Any],
    every: pd.DataFrame,
    trained: pd.DataFrame,
    random: pd.DataFrame,
) -> None:
    title, lead = f"{summary['space']} on {summary['data']}, scores", [subtitle(summary)]
    found, bought = summary.get("fidelity"), summary["versus_random"]
    path, target_ms = folder / "scores.html", summary["target_ms"]
    scores_page(path, title, lead, every, trained, target_ms, found, random, bought)


def write_front(
    folder: Path, archs: Sequence[Arch], rows: Sequence[Mapping[str, Any]], winner: Any
) -> None:
    """The networks of the front, fastest first, and the winner again, as YAML files."""
    (folder / "front").mkdir(exist_ok=True)
    written = set()
    for rank, (arch, row) in enumerate(zip(archs, rows, strict=True), 1):
        text = _described(arch, row)
        written.add(folder / "front" / f"{rank:02d}.yaml")
        write_text(folder / "front" / f"{rank:02d}.yaml", text)
        if row is winner:
            write_text(folder / "winner.yaml", text)
    for stale in set((folder / "front").glob("*.yaml")) - written:
        stale.unlink()


def subtitle(about: Mapping[str, Any]) -> str:
    """What was searched, how it was judged and measured, in one line."""
    train, val, test = about["images"]
    return (
        f"{about['resolution']} px, {train:,} training, {val:,} validation and {test:,} test "
        f"images; training budget {about['budget']}; latency by {about['latency']}; "
        f"sampler {about['sampler']}, seed {about['seed']}"
    )


def notes(about: Mapping[str, Any]) -> list[str]:
    """What a reader should know before trusting the picture."""
    return [
        f"Accuracy is on validation images after the short training budget={about['budget']}: it "
        "ranks networks, and longer training raises all of them and may change their order.",
        "± is one standard error over the images; the spread between training seeds comes on top.",
        "The search chose by validation accuracy, so for the chosen it is a little optimistic; "
        "test accuracy is on images that no decision has seen.",
        f"Latency is by the {about['latency']}, and compares with nothing measured elsewhere. "
        "Where a hover says so, the network was measured whole too.",
    ]


def _described(arch: Arch, row: Mapping[str, Any]) -> str:
    """The network as YAML below a comment with what was measured of it."""
    return (
        f"# accuracy {row['accuracy']:.4f} ± {row['accuracy_se']:.4f} (validation), "
        f"{row['test_accuracy']:.4f} (test), {row['latency_ms']:.4f} ms, "
        f"{row['macs']:,} MACs, {row['params']:,} parameters, id {row['id']}\n{dumps(arch)}"
    )


def print_front(console: Console, summary: Mapping[str, Any]) -> None:
    """The front as a table, the winner starred."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ("front", "accuracy", "test", "latency", "measured", "MACs", "parameters", "network")
    for name in names:
        table.add_column(
            name, justify="left" if name in {"front", "network"} else "right", overflow="fold"
        )
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
        row["name"] or row["id"],
    )


def print_winner(console: Console, summary: Mapping[str, Any]) -> None:
    """The counts, the winner, and the best published network within the same target."""
    console.print(
        f"searched  spent {summary['asked']}, distinct {summary['distinct']} · "
        f"{summary['evaluated']} {'scored' if 'trained' in summary else 'trained'} · "
        f"{summary['pruned']} stopped early · {summary['infeasible']} over a limit · "
        f"{summary['failed']} failed · {summary['seconds']:.0f} s"
    )
    if bought := summary.get("versus_random"):
        console.print(f"search    {in_words(bought)}")
    if found := summary.get("fidelity"):
        low, high = found["kendall_interval"]
        console.print(
            f"fidelity  Kendall tau {found['kendall']:.2f} ({low:.2f} to {high:.2f}) of "
            f"scores with {found['num_networks']} trainings: {found['words']}"
        )
    winner, target = summary["winner"], summary["target_ms"]
    if not winner:
        console.print("winner    none: no network was trained (trials.csv has the reasons)")
        return
    if not summary["target_met"]:
        console.print(f"no network is within {target:.3g} ms; the fastest of the front stands in:")
    console.print(f"winner    {_said(winner)}")
    console.print(f"          {winner['arch']}", soft_wrap=True)
    if (off := summary["winner_latency_off"]) is not None:
        word = "agrees with" if summary["winner_latency_agrees"] else "DISAGREES with"
        over = winner["measured_ms"] > target >= winner["latency_ms"]
        console.print(
            f"measured  {winner['measured_ms']:.3g} ms as a whole, which {word} the table "
            f"({off:+.1%})" + (" and is over the target" if over else "")
        )
    within = [r for r in summary["published"] if r["latency_ms"] <= target]
    if within:
        best = max(within, key=lambda r: float(r["accuracy"]))
        console.print(f"published {_said(best)} (the best of {len(within)} within the target)")


def _said(row: Mapping[str, Any]) -> str:
    name = f" {row['name']}" if row["name"] else ""
    return (
        f"{row['accuracy']:.1%} ± {row['accuracy_se']:.1%} (test {row['test_accuracy']:.1%}) at "
        f"{row['latency_ms']:.3g} ms{name}"
    )
