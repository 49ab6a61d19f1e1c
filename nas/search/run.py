"""`python -m nas.search`: a Pareto front of accuracy and latency, on your data and your device.

from nas.search.run import search
from nas.search.settings import SearchSettings

summary = search(SearchSettings.of("data=folder", "data.root=pictures", "target=1.5"))
print(summary["winner"]["arch"], summary["winner"]["latency_ms"])
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pandas as pd

from nas.arch.arch import Arch
from nas.core.progress import open_console
from nas.core.run_folder import write_json
from nas.report.frames import front_of, trial_frame
from nas.report.kept_run import read_run
from nas.report.networks import own_side
from nas.report.page import write_page
from nas.report.verdicts import compared, describe_gain_over
from nas.search.controls import gain_over_controls, train_controls
from nas.search.evaluations import Role
from nas.search.inherited_report import (
    describe_inheriting,
    inherited_rows,
    write_blocks,
    write_networks,
)
from nas.search.inheriting import run_inheriting
from nas.search.phases import measure_whole, picks_row, rows_trained, run_phases
from nas.search.refine import Refined, describe_refined, refine_or_why
from nas.search.report import (
    Outcome,
    print_front,
    print_refined,
    print_target,
    print_winner,
    write_results,
)
from nas.search.settings import SearchSettings
from nas.search.setup import SearchRun, open_search
from nas.search.together import help_first, is_helper
from nas.tasks.choice import CLASSES

TABLE_WIDTH = 100  # characters of the front's table, also in a pipe
INTERRUPTED = "interrupted"
EARLIER_PAGES = ("pareto.html", "scores.html", "blocks.html")  # of versions before the report


def search(settings: SearchSettings) -> dict[str, Any]:
    """Run a search, or go on with it, and write its run folder; what summary.json holds.

    Raises UserError where the settings cannot be used.  Ctrl-C ends it, writes what there is,
    and is raised again: the same settings go on.  Of processes that torchrun started the others
    help the first with its supernet, and return {}.
    """
    if is_helper(settings):
        help_first(settings)
        return {}
    began = time.perf_counter()
    console = open_console(TABLE_WIDTH)
    with ExitStack() as stack:
        run = open_search(settings, stack, console)
        refined, refusal = None, None
        print_target(console, run.problem, settings.target)
        with counted_seconds(run, began):
            try:
                stopped = run_inheriting(run) if settings.inherits else run_phases(run)
                if not run.judge.trains_each:
                    train_controls(run)
                refined, refusal = refine_or_why(run)
            except KeyboardInterrupt:
                run.workers.close()
                stopped = INTERRUPTED
        summary = write_report(run, measure=stopped != INTERRUPTED, refined=refined)
        print_report(run, summary, stopped)
    if stopped == INTERRUPTED:
        raise KeyboardInterrupt
    if refusal:
        raise refusal
    return summary


@contextmanager
def counted_seconds(run: SearchRun, began: float) -> Iterator[None]:
    """Add the time since `began` (perf_counter) to the run's, where anything was done."""
    before = what_is_done(run)
    yield
    if what_is_done(run) != before:  # an earlier call's time is not counted twice
        seconds = run.store.note("seconds", float) + time.perf_counter() - began
        run.store.set_note("seconds", round(seconds, 1))


def what_is_done(run: SearchRun) -> tuple[int, int, dict[str, float]]:
    """Trials, evaluations beside them, and the seconds of each step before them."""
    prepared = run.store.notes().get("prepared", {})
    return run.study.num_evaluated, len(run.evaluations.journal.entries), dict(prepared)


def write_report(run: SearchRun, measure: bool, refined: Refined | None = None) -> dict[str, Any]:
    """Write the run folder; with `measure`, the front and published networks are timed.

    Without, as after Ctrl-C, no worker is asked for anything.
    """
    trials, is_scored = trial_frame(run.study.rows()), not run.judge.trains_each
    trained = trial_frame(rows_trained(run)) if is_scored else trials
    if run.settings.inherits:
        trained = trial_frame(inherited_rows(run))
    beside = {role: [row | {"number": None} for row in run.evaluations.rows(role)] for role in Role}
    references = trial_frame(beside[Role.REFERENCE])
    random = trial_frame([row | picks_row(run, row["id"]) for row in beside[Role.RANDOM]])
    by = "score" if run.settings.inherits else "accuracy"
    if run.settings.inherits:
        references = pd.concat([references, trial_frame(beside[Role.CONTROL])])
    labelled = [row["id"] for row in run.evaluations.rows(Role.LABEL)]
    outcome = Outcome(trials, trained, references, random, is_scored, by, labelled)
    summary = write_results(
        run.folder,
        outcome,
        target_ms=run.problem.target_ms,
        measured=measure_whole(run, shown_networks(run, outcome), again=measure),
        arch_of=run.arch_of,
        about=describe_run(run),
    )
    if is_scored:
        summary["versus_controls"] = gain_over_controls(run, summary["winner"])
        write_json(run.folder / "summary.json", summary)
    if refined:
        summary["refined"] = describe_refined(run, refined, summary["winner"])
        write_json(run.folder / "summary.json", summary)
    if run.settings.inherits:
        summary |= describe_inheriting(run, summary["winner"])
        write_json(run.folder / "summary.json", summary)
        write_networks(run, front_of(trained, by), summary["winner"], again=measure)
        write_blocks(run, summary["winner"])
    write_page([read_run(run.folder)], run.folder / "report.html")
    for page in EARLIER_PAGES:
        (run.folder / page).unlink(missing_ok=True)
    return summary


def shown_networks(run: SearchRun, outcome: Outcome) -> dict[str, Arch]:
    """The networks of the front, the published ones and those that the winner is compared with."""
    trained = outcome.trained
    named = trained[(trained["name"] != "") & (trained["state"] == "complete")]
    ids = [*front_of(trained, outcome.ranked_by)["id"], *named["id"], *outcome.references["id"]]
    controls = run.evaluations.rows(Role.CONTROL)
    ids += [row["id"] for row in controls if row["state"] == "complete"]
    return {str(key): run.arch_of(str(key)) for key in ids}


def describe_run(run: SearchRun) -> dict[str, Any]:
    """What summary.json says of how it was done."""
    settings, data = run.settings, run.data
    bits = ", in 8 bits as accuracy is" if settings.precision == "int8" else ""
    return {
        "space": f"{settings.arch}, shrunk," if settings.inherits else settings.space.name,
        "data": data.name,
        "images": [len(split) for split in (data.train, data.val, data.test)],
        "resolution": max(settings.resolutions or (data.resolution,)),
        "budget": settings.budget.name,
        "epochs": settings.budget.node["epochs"],
        "precision": settings.precision,
        "accuracy": settings.accuracy.name,
        **({"metric": task.metric} if (task := settings.make_task()) else {}),
        **({"ranked_by": "score"} if settings.inherits else {}),
        "latency": run.problem.latency.name + bits,
        "sampler": settings.sampler.name,
        "seed": settings.seed,
        "seconds": float(run.store.note("seconds", float)),
    }


def print_report(run: SearchRun, summary: dict[str, Any], stopped: str | None) -> None:
    """Print the front, the winner and where to go on."""
    console = run.console
    print_front(console, summary)
    print_winner(console, summary)
    for row in compared(summary):
        console.print(f"against   {describe_gain_over(row)}")
    if summary["winner"] and lacks_controls(run, summary) and stopped != INTERRUPTED:
        console.print("against   nothing: no random network as fast as the winner was found")
    if refined := summary.get("refined"):
        print_refined(console, refined)
    if lost := run.workers.num_lost:
        console.print(f"workers   {lost} lost, and replaced")
    winner = "winner.yaml " if summary["winner"] else ""
    console.print(f"wrote     {run.folder}/: report.html {winner}trials.csv summary.json ...")
    if winner and (not run.settings.inherits or (run.folder / "winner.pt").is_file()):
        arch = run.arch_of(summary["winner"]["id"])
        console.print(f"next      {next_steps(run, arch)}", soft_wrap=True)
    if stopped:
        more = "the same command goes on" if stopped == INTERRUPTED else "nothing more to do"
        console.print(f"stopped   {stopped} after {run.study.num_evaluated} networks; {more}")


def lacks_controls(run: SearchRun, summary: dict[str, Any]) -> bool:
    """Whether random networks as fast as the winner were asked for, and there is none."""
    return bool(run.settings.spread) and summary.get("versus_controls", "") is None


def next_steps(run: SearchRun, arch: Arch) -> str:
    """How to go on with the winner `arch`: with its weights, where it has inherited them."""
    settings, winner = run.settings, run.folder / "winner"
    same = "" if run.data.name == "embedded" else ", with the same data= settings"
    if not settings.inherits:
        more = "python -m nas.train trains the winner on, python -m nas.scale grows it"
        return f"{more}{same}"
    task = [] if settings.task.name == CLASSES else [f"task={settings.task.name}"]
    start = [f"arch={winner}.yaml", "weights=file", f"weights.path={winner}.pt"]
    words = [*task, *start, *own_side(arch, settings.data.node)]
    return f"python -m nas.train {shlex.join(words)} trains the winner on{same}"
