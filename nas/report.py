"""What a search shows while it runs and leaves when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from nas.arch import Arch, dumps
from nas.files import write_text
from nas.pareto import best_under, non_dominated
from nas.plot import pareto_page
from nas.results import write_json

# Columns of a network in summary.json.
SHOWN = ("name", "accuracy", "accuracy_se", "test_accuracy", "test_accuracy_se", "latency_ms",
         "latency_iqr_ms", "macs", "params", "peak_memory_bytes", "arch", "id")  # fmt: skip
COLUMNS = ("number", "id", "state", *SHOWN[:-2], "cross_entropy", "seconds", "reason", "arch")
# Columns that are known of every network: they are arithmetic.
WHOLE = ("number", "macs", "params", "peak_memory_bytes")


class Live:
    """A progress bar with time left; in a file or a pipe, a line now and then."""

    def __init__(self, console: Console, label: str, total: int, done: int) -> None:
        self.console, self.label, self.total = console, label, total
        self.began, self.first, self.printed = time.perf_counter(), done, done
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[say]}"), console=console,
            disable=not console.is_terminal,
            speed_estimate_period=600,
        )  # fmt: skip
        self.task = self.bar.add_task(f"{label:<9}", total=total, completed=done, say="")

    def __enter__(self) -> Live:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def __call__(self, done: int, say: str) -> None:
        """`done` of the total, with what there is to say about it."""
        self.bar.update(self.task, completed=done, say=say)
        if self.console.is_terminal or done < min(self.total, self.printed + self.total / 10):
            return
        if done > self.printed:
            each = (time.perf_counter() - self.began) / max(1, done - self.first)
            left = f"about {each * (self.total - done):.0f} s left" if done < self.total else "done"
            self.console.print(f"{self.label:<9} {done}/{self.total} · {left} · {say}")
            self.printed = done


def trial_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a trial, one column a metric and a choice; unknown numbers are NaN."""
    picks = sorted({k for row in rows for k in row if k.startswith("pick.")})
    frame = pd.DataFrame(list(rows), columns=[*COLUMNS, *picks])
    texts = {"id", "state", "name", "reason", "arch"}
    return frame.astype({c: int if c in WHOLE else float for c in COLUMNS if c not in texts})


def front_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The networks that no other beats in both accuracy and latency, fastest first."""
    trained = trials[trials["state"] == "complete"]
    mask = non_dominated(trained[["accuracy", "latency_ms"]].to_numpy(float), (True, False))
    return trained[mask].sort_values(["latency_ms", "number"], kind="stable")


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of summary.json."""
    values = frame[list(SHOWN)].itertuples(index=False, name=None)
    return [dict(zip(SHOWN, row, strict=True)) for row in values]


def summarised(trials: pd.DataFrame, beside: pd.DataFrame, target_ms: float) -> dict[str, Any]:
    """The figures of summary.json: counts, front, published networks, winner.

    The winner is the most accurate network within the target, or the fastest where none is.
    """
    states = trials["state"].value_counts()
    front = front_of(trials)
    published = pd.concat([trials[trials["name"] != ""], beside])
    rows = as_rows(front)
    best = best_under(front["accuracy"].to_numpy(), front["latency_ms"].to_numpy(), target_ms)
    return {
        "asked": len(trials),
        "distinct": int(trials["id"].nunique()),
        "evaluated": int(states.get("complete", 0)),
        "infeasible": int(states.get("infeasible", 0)),
        "failed": int(states.get("failed", 0)),
        "duplicates": int(states.get("duplicate", 0)),
        "target_ms": target_ms,
        "target_met": best is not None,
        "winner": rows[best or 0] if rows else None,
        "front": rows,
        "published": as_rows(published[published["state"] == "complete"]),
    }


def write_results(
    folder: Path,
    *,
    trials: pd.DataFrame,
    beside: pd.DataFrame,
    target_ms: float,
    timings: Mapping[str, Any],
    arch_of: Callable[[int], Arch],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write all that a search leaves beside its journal, and return what summary.json holds.

    `beside` are networks that were judged but are no trials; `timings` all that were taken,
    by network id; `arch_of` gives a trial's network.
    """
    summary = {**about, **summarised(trials, beside, target_ms)}
    front, winner = front_of(trials), summary["winner"]
    write_text(folder / "trials.csv", trials.to_csv(index=False))
    write_text(folder / "pareto.csv", front.to_csv(index=False))
    pareto_page(
        trials,
        folder / "pareto.html",
        published=pd.concat([trials[trials["name"] != ""], beside]),
        target_ms=target_ms,
        winner_id=winner["id"] if winner else None,
        title=f"{about['space']} on {about['data']}",
        subtitle=subtitle(about),
        notes=notes(about),
    )
    write_latencies(folder / "latencies.csv", timings, trials, beside)
    (folder / "front").mkdir(exist_ok=True)
    written = set()
    for rank, (number, row) in enumerate(zip(front["number"], summary["front"], strict=True), 1):
        text = _described(arch_of(number), row)
        written.add(folder / "front" / f"{rank:02d}.yaml")
        write_text(folder / "front" / f"{rank:02d}.yaml", text)
        if row is winner:
            write_text(folder / "winner.yaml", text)
    for stale in set((folder / "front").glob("*.yaml")) - written:
        stale.unlink()
    write_json(folder / "summary.json", summary)
    return summary


def write_latencies(path: Path, timings: Mapping[str, Any], *frames: pd.DataFrame) -> None:
    """Every latency of the run, for `latency=recorded`: what was measured now, then the trials'.

    A network that was measured twice, by two processes, keeps what its trial was told.
    """
    old = pd.read_csv(path, dtype={"id": str}) if path.exists() else None
    medians = [getattr(timing, "median_ms", None) for timing in timings.values()]
    now = pd.DataFrame({"id": list(timings), "latency_ms": medians})
    known = pd.concat([old, now, *(f[["id", "latency_ms"]] for f in frames)]).dropna()
    known = known.drop_duplicates("id", keep="last").sort_values("id")
    write_text(path, known.to_csv(index=False))


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
        "Latency is measured on this machine and compares with nothing measured elsewhere.",
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
    for name in ("front", "accuracy", "test", "latency", "MACs", "parameters", "network"):
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
        f"{row['macs'] / 1e6:.2f} M",
        f"{row['params'] / 1e6:.3f} M",
        row["name"] or row["id"],
    )


def print_winner(console: Console, summary: Mapping[str, Any]) -> None:
    """The counts, the winner, and the best published network within the same target."""
    console.print(
        f"searched  {summary['asked']} asked · {summary['distinct']} distinct · "
        f"{summary['evaluated']} trained · {summary['infeasible']} over a limit · "
        f"{summary['failed']} failed · {summary['seconds']:.0f} s"
    )
    winner, target = summary["winner"], summary["target_ms"]
    if not winner:
        console.print("winner    none: no network was trained (trials.csv has the reasons)")
        return
    if not summary["target_met"]:
        console.print(f"no network is within {target:.3g} ms; the fastest of the front stands in:")
    console.print(f"winner    {_said(winner)}")
    console.print(f"          {winner['arch']}", soft_wrap=True)
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
