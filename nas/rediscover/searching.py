"""Searches that know no published network, each with a judge of its own, and what the judge says.

They are `nas.search`'s own, in its run folders: what is killed goes on there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from nas.accuracy.estimate import Failure
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.journal import KeyedJournal
from nas.core.run_folder import open_folder
from nas.rediscover.settings import WITHIN, RediscoverSettings
from nas.report.frames import as_rows, trial_frame
from nas.search.evaluations import EVALUATIONS, Evaluations, Role
from nas.search.phases import open_judge, run_phases
from nas.search.run import counted_seconds, write_report
from nas.search.settings import SearchSettings
from nas.search.setup import SearchRun, open_search
from nas.stats.rewards import OBJECTIVES, power_law

JUDGE = "supernet.pt"
SCORES = "controls.jsonl"  # what the judge says of the controls


@dataclass(frozen=True)
class Search:
    """One search that has ended.

    winner    the network of the highest score, and its row
    scores    what its judge says of the controls that are trained, in their order
    labels    networks as fast that were trained for its judge to learn from, with their accuracy
    seconds   of the judge's training and of scoring
    """

    name: str
    winner: Arch
    row: Mapping[str, Any]
    scores: list[float]
    labels: list[tuple[Arch, float]]
    seconds: float


def open_unknowing(settings: SearchSettings, stack: ExitStack, console: Console) -> SearchRun:
    """A search that does not begin with the published networks that its space contains."""
    run = open_search(settings, stack, console)
    return replace(run, problem=replace(run.problem, members={}))


def run_unknowing(settings: SearchSettings, stack: ExitStack, console: Console) -> SearchRun:
    """Such a search, run to its end, with its report."""
    quiet = Console(quiet=True)  # space, data and table were said when the controls were found
    began, run = time.perf_counter(), open_unknowing(settings, stack, quiet)
    run = replace(run, console=console)
    with counted_seconds(run, began):
        run_phases(run)
    write_report(run, measure=True)
    return run


def find_target(settings: RediscoverSettings, folder: Path, console: Console) -> float:
    """The target in milliseconds; that of a network is measured once in the life of the run."""
    kept, key = KeyedJournal(folder / "target.jsonl"), str(settings.target)
    if key not in kept:
        with ExitStack() as stack:
            given = settings.by_reward(None, settings.target)
            target_ms = open_unknowing(given, stack, console).problem.target_ms
        kept.add({"key": key, "ms": target_ms})
    return float(kept[key]["ms"])


def find_controls(settings: RediscoverSettings, target_ms: float) -> list[Arch]:
    """The random networks that are as fast; UserError where the space has too few."""
    with ExitStack() as stack:
        given = settings.to_search(0, target_ms)
        problem = open_unknowing(given, stack, Console(quiet=True)).problem
        controls = problem.sample(settings.controls, settings.seed)
    if len(controls) < settings.controls:
        raise UserError(
            f"only {len(controls)} networks were found within {WITHIN:.0%} of {target_ms:.3g} ms, "
            f"not controls={settings.controls}: give another target= with another run="
        )
    return controls


def search_once(
    settings: RediscoverSettings,
    number: int,
    target_ms: float,
    ranked: Sequence[Arch],
    console: Console,
) -> Search:
    """Run the search of that number, or what is left of it, and have its judge score `ranked`."""
    given = settings.to_search(number, target_ms)
    with ExitStack() as stack:
        run = run_unknowing(given, stack, console)
        done = completed(run)
        if done.empty:
            raise UserError(f"search {given.run} scored no network: give more trials=")
        [row] = as_rows(done.nlargest(1, "score"))
        return Search(
            name=given.run,
            winner=run.arch_of(str(row["id"])),
            row=row,
            scores=scores_of(run, ranked),
            labels=labels_of(run),
            seconds=judge_seconds(run) + float(done["seconds"].sum()),
        )


def labels_of(run: SearchRun) -> list[tuple[Arch, float]]:
    """The networks that its judge learnt from, none of a supernet, with their accuracy."""
    rows = run.evaluations.rows(Role.LABEL)
    return [(run.arch_of(row["id"]), row["accuracy"]) for row in rows if row["state"] == "complete"]


def judge_seconds(run: SearchRun) -> float:
    """What its judge took to train, on all workers: its supernet, or its labels."""
    labels = sum(row["seconds"] for row in run.evaluations.rows(Role.LABEL))
    supernet = run.settings.accuracy.node.get("budget", {}).get("seconds") or 0.0
    return float(supernet + labels / run.settings.workers)


def completed(run: SearchRun) -> pd.DataFrame:
    """The trials that were scored."""
    trials = trial_frame(run.study.rows())
    return trials.query("state == 'complete' and score.notna()")


def scores_of(run: SearchRun, archs: Sequence[Arch]) -> list[float]:
    """The judge's score of each network, kept in the run's folder; NaN where it has none."""
    journal = KeyedJournal(run.folder / SCORES)
    missing = [arch for arch in archs if network_id(arch) not in journal]
    if missing:
        judge = open_judge(run)
        for i, estimate in judge.estimate(missing):
            value = None if isinstance(estimate, Failure) else estimate.value
            journal.add({"key": network_id(missing[i]), "score": value})
    found = [journal[network_id(arch)]["score"] for arch in archs]
    return [float("nan") if score is None else score for score in found]


def share_judge(theirs: Path, own: Path) -> None:
    """Give a search what another's judge learnt: a supernet, labels."""
    open_folder(own)
    if (theirs / JUDGE).is_file() and not (own / JUDGE).exists():
        shutil.copyfile(theirs / JUDGE, part := own / f"{JUDGE}.part")
        part.replace(own / JUDGE)
    known, ours = (Evaluations(folder / EVALUATIONS) for folder in (theirs, own))
    labelled = [known.arch(row["id"]) for row in known.rows(Role.LABEL)]
    for arch in ours.missing(Role.LABEL, labelled):
        ours.add(Role.LABEL, arch, known.metrics(Role.LABEL, arch))


def exponent_of(done: pd.DataFrame, target_ms: float) -> float | None:
    """MnasNet's exponent as the front of these trials says, by their accuracies; None without."""
    values, costs = (done[name].to_numpy(float) for name in ("accuracy", "latency_ms"))
    known = np.isfinite(values)
    try:
        return power_law(values[known], costs[known], target_ms)[0]
    except UserError:
        return None


def search_by(
    reward: str, settings: RediscoverSettings, target_ms: float, console: Console
) -> tuple[float, float | None]:
    """A search of the whole space by a reward: how near the target it ends, and its exponent.

    The first is the latency over the target of the network that has most of the reward, the second
    `exponent_of`.  All rewards share the judge of the first.
    """
    given = first = settings.by_reward(None, settings.target)
    if reward != settings.rewards[0]:
        given = settings.by_reward(reward, target_ms)
        share_judge(*(Path(s.results) / "search" / s.run for s in (first, given)))
    with ExitStack() as stack:
        done = completed(run_unknowing(given, stack, console))
    rule = OBJECTIVES[reward]
    assert rule is not None
    costs = done["latency_ms"].to_numpy(float)
    rewards = rule(np.exp(done["score"].to_numpy(float)), costs, target=target_ms)
    return float(costs[int(np.argmax(rewards))] / target_ms), exponent_of(done, target_ms)
