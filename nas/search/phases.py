"""What a search judges beside its trials: published networks, labels, random ones, finalists."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np
from rich.console import Console

from nas.accuracy.answer import Answer
from nas.accuracy.factory import Judges
from nas.accuracy.worker_pool import Failure
from nas.arch.arch import Arch
from nas.core.errors import UserError
from nas.core.progress import ProgressBar
from nas.search.evaluator import Evaluator
from nas.search.finalists import choose_finalists
from nas.search.report import trial_frame
from nas.search.setup import Plan
from nas.space.choices import fill
from nas.space.limits import Limits
from search_spaces.lookup import adapted, at_width


def references(plan: Plan, console: Console) -> None:
    """Train the published networks that are no trials or only scored ones, to draw them."""
    names = [at_width(name, plan.settings["width"]) for name in plan.settings["references"]]
    tried = plan.members if plan.alike else ()
    beside = {name: adapted(name, plan.space) for name in names if name not in tried}
    for name in list(beside):
        try:
            plan.latencies.measure_many([beside[name]])
        except UserError as error:
            console.print(f"left out  {name}: {error}")
            del beside[name]
    free = replace(plan.evaluator, limits=Limits(), most_ms=math.inf)
    apart(plan, "published", beside, free, console)


def spread(plan: Plan, number: int) -> list[Arch]:
    """So many networks within the limits, evenly over their latencies."""
    genomes = plan.allowed.sample_even_in_latency(
        number, np.random.default_rng(plan.settings["seed"])
    )
    return [fill(plan.space, picks) for picks in plan.allowed.trellis.decode(genomes)]


def labelled(plan: Plan, console: Console) -> Judges:
    """Train networks, each once in the life of the study, and answer what that gave."""

    def truth(archs: Sequence[Arch]) -> Iterator[tuple[int, Any]]:
        apart(
            plan, "label", {str(i): arch for i, arch in enumerate(archs)}, plan.evaluator, console
        )
        for row in plan.study.rows_apart("label"):
            told = [row[key] for key in ("score", "score_se", "seconds", "fidelity")]
            good = row["state"] == "complete"
            yield int(row["name"]), Answer(*told) if good else Failure(row["reason"])

    return truth


def at_random(plan: Plan) -> dict[str, Arch]:
    """The networks of a random search, to draw beside this one."""
    number, seed = plan.settings["random"], plan.settings["seed"]
    genomes = plan.allowed.random(number, np.random.default_rng([seed, 1]))
    drawn = enumerate(plan.allowed.trellis.decode(genomes))
    return {str(i): fill(plan.space, picks) for i, picks in drawn}


def finals(plan: Plan, console: Console) -> None:
    """Train the most promising networks alone, and a spread of others to test the order by."""
    study, settings = plan.study, plan.settings
    trials = trial_frame(study.rows())
    scored = trials[(trials["state"] == "complete") & trials["score"].notna()]
    chosen = choose_finalists(scored, plan.target_ms, settings["finalists"], settings["spread"])
    free = replace(plan.evaluator, limits=Limits(), most_ms=math.inf)
    apart(plan, "alone", {str(n): study.arch_of(n) for n in chosen}, free, console)


def apart(
    plan: Plan,
    kind: str,
    archs: Mapping[str, Arch],
    evaluator: Evaluator,
    console: Console,
    at_once: int | None = None,
) -> None:
    """Judge networks that are no trials, all or `at_once` of them at a time, with progress."""
    done, names = count(1), plan.study.missing(kind, archs)
    size = at_once or len(names) or 1
    with ProgressBar(console, kind, len(names), 0) as live, watching(plan, live):
        for i in range(0, len(names), size):
            some = {name: archs[name] for name in names[i : i + size]}
            plan.study.judge_apart(kind, some, evaluator, lambda: live(next(done), ""))


def watching(plan: Plan, live: ProgressBar) -> AbstractContextManager[None]:
    """Let `live` follow the trainings that the plan's processes are at."""
    return plan.pool.watched(lambda parts: live.set_partial(sum(parts.values())))


def rows_trained(plan: Plan) -> list[dict[str, Any]]:
    """The networks that were trained where trials are only scored: labels, numbered from -1 down,
    and the trials that were trained alone."""
    labels = [
        row | {"number": -1 - int(row["name"]), "name": ""}
        for row in plan.study.rows_apart("label")
    ]
    alone = {int(row.pop("name")): row for row in plan.study.rows_apart("alone")}
    trials = [row for row in plan.study.rows() if row["number"] in alone]
    return labels + [row | alone[row["number"]] | {"number": row["number"]} for row in trials]


def arch_of(plan: Plan) -> Callable[[int], Arch]:
    """What gives the network of a row by its number: a trial, or below zero a label."""
    labels = cache(lambda: spread(plan, plan.settings["accuracy"]["num_labels"]))
    return lambda number: plan.study.arch_of(number) if number >= 0 else labels()[-1 - number]
