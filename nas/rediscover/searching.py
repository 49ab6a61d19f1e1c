"""Searches that know no published network, each with a judge of its own, and what the judge says.

They are `nas.search`'s own, in run folders of its own: what is killed goes on there.
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
from rich.console import Console

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.journal import KeyedJournal
from nas.core.run_folder import open_folder
from nas.rediscover.settings import RediscoverSettings
from nas.report.frames import trial_frame
from nas.search.evaluations import Role
from nas.search.phases import open_judge, run_phases
from nas.search.run import counted_seconds, write_report
from nas.search.settings import SearchSettings
from nas.search.setup import SearchRun, open_search
from nas.stats.rewards import OBJECTIVES, power_law

WITHIN = 0.02  # a control is at most so much faster than the target
DRAWN = 50_000  # random networks, among which the controls are found
JUDGE = "supernet.pt"


@dataclass(frozen=True)
class Search:
    """One search that has ended.

    winner      the most accurate network of its finalists within the target, and its row
    scores      what its judge says of the first controls, by network
    trained     latency in ms and accuracy of each network that it trained
    seconds     of the whole search
    """

    name: str
    winner: Arch
    row: Mapping[str, Any]
    target_ms: float
    scores: list[float]
    trained: list[tuple[float, float]]
    seconds: float


def open_unknowing(settings: SearchSettings, stack: ExitStack, console: Console) -> SearchRun:
    """A search that does not begin with the published networks that its space contains."""
    run = open_search(settings, stack, console)
    return replace(run, problem=replace(run.problem, members={}))


def run_unknowing(settings: SearchSettings, stack: ExitStack, console: Console) -> SearchRun:
    """Such a search, run to its end."""
    began, run = time.perf_counter(), open_unknowing(settings, stack, console)
    with counted_seconds(run, began):
        run_phases(run)
    return run


def find_controls(settings: RediscoverSettings, console: Console) -> tuple[float, list[Arch]]:
    """The target in milliseconds, and the random networks that are as fast.

    UserError where the space has too few.
    """
    with ExitStack() as stack:
        problem = open_unknowing(settings.to_search(0, settings.target), stack, console).problem
        target, number = problem.target_ms, settings.controls
        controls = problem.sample_near(target, number, settings.seed, within=WITHIN, of=DRAWN)
    if len(controls) < number:
        raise UserError(
            f"only {len(controls)} of {DRAWN:,} random networks are within {WITHIN:.0%} of "
            f"{target:.3g} ms, not controls={number}: give another target=, or fewer controls="
        )
    return target, controls


def search_once(
    settings: RediscoverSettings,
    number: int,
    target_ms: float,
    ranked: Sequence[Arch],
    journal: KeyedJournal,
    console: Console,
) -> Search:
    """Run the search of that number, or what is left of it, and have its judge score `ranked`."""
    given = settings.to_search(number, target_ms if number else settings.target)
    with ExitStack() as stack:
        run = run_unknowing(given, stack, console)
        summary = write_report(run, measure=True)
        scores = scores_of(run, ranked, journal)
        row = summary["winner"]
        if row is None or not summary["target_met"]:
            raise UserError(
                f"search {number} found no network within the target of {target_ms:.3g} ms: give "
                "more trials=, or another target="
            )
        rows = trial_frame(
            [r for r in run.evaluations.rows(Role.FINALIST) if r["state"] == "complete"]
        )
        trained = list(zip(rows["latency_ms"].tolist(), rows["accuracy"].tolist(), strict=True))
        return Search(
            given.run, run.arch_of(row["id"]), row, run.problem.target_ms, scores, trained,
            float(summary["seconds"]),
        )  # fmt: skip


def scores_of(run: SearchRun, archs: Sequence[Arch], journal: KeyedJournal) -> list[float]:
    """The judge's score of each network; NaN where it has none."""
    keys = {f"{run.settings.run} {network_id(arch)}": arch for arch in archs}
    if missing := {key: arch for key, arch in keys.items() if key not in journal}:
        judge = open_judge(run)
        for i, estimate in judge.estimate(list(missing.values())):
            value = getattr(estimate, "value", None)
            journal.add({"key": list(missing)[i], "score": value})
    found = [journal[key]["score"] for key in keys]
    return [float("nan") if score is None else score for score in found]


def search_by(
    reward: str, settings: RediscoverSettings, target_ms: float, console: Console
) -> float:
    """Latency of what the first judge's best network by that reward has, over the target.

    Its supernet is that of the first search.
    """
    given = settings.to_search(0, settings.target, reward)
    first = Path(settings.results) / "search" / settings.to_search(0, settings.target).run / JUDGE
    with ExitStack() as stack:
        own = Path(given.results) / "search" / given.run / JUDGE
        if first.is_file() and not own.exists():
            open_folder(own.parent)
            shutil.copyfile(first, part := own.with_suffix(".part"))
            part.replace(own)
        run = run_unknowing(given, stack, console)
        write_report(run, measure=False)
        trials = trial_frame(run.study.rows())
    done = trials[trials["state"] == "complete"]
    rule = OBJECTIVES[reward]
    assert rule is not None
    costs = done["latency_ms"].to_numpy(float)
    rewards = rule(np.exp(done["score"].to_numpy(float)), costs, target=target_ms)
    return float(costs[int(np.argmax(rewards))] / target_ms)


def exponent_of(searches: Sequence[Search], target_ms: float) -> float | None:
    """MnasNet's exponent as the front of all networks that were trained says; None without one."""
    points = np.array([point for search in searches for point in search.trained])
    try:
        return power_law(points[:, 1], points[:, 0], target_ms)[0]
    except UserError:
        return None
