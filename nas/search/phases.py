"""The phases of a search: references, labels, trials, random baseline, finalists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.judge import Estimates, Judge, JudgeContext, Thresholds
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.progress import ProgressBar
from nas.report.frames import trial_frame
from nas.search.evaluations import Role
from nas.search.evaluator import Evaluator
from nas.search.finalists import choose_finalists
from nas.search.metrics import Metrics
from nas.search.samplers.pruning import Pruning, rungs
from nas.search.setup import SearchRun
from nas.search.together import open_helped, release_helpers
from nas.space.bounds import size_ladder
from nas.space.choices import Picks, fill, picks_of
from search_spaces.lookup import adapted, at_width

SCORED_AT_ONCE = 8  # networks that a judge without training gets at a time
LABEL_STREAM = 3  # of random numbers: what a judge learns from is no control of its winner
LADDER = 8  # networks of growing size that are tried right after the published ones


def run_phases(run: SearchRun) -> str | None:
    """Train the references, search, train the best; why the search stopped early, or None."""
    train_references(run)
    random = run.problem.sample(run.num_random, run.settings.seed)
    stopped = None
    unfinished = run.study.num_evaluated < run.num_trials
    if unfinished or run.evaluations.missing(Role.RANDOM, random):
        evaluator = replace(run.evaluator, judge=open_judge(run))
        stopped = run_trials(run, evaluator, first_trials(run))
        evaluate_beside(run, Role.RANDOM, random, evaluator, at_once=SCORED_AT_ONCE)
    else:
        release_helpers(run.settings)
    if not run.judge.trains_each:
        train_finalists(run)
    return stopped


def train_references(run: SearchRun) -> None:
    """Train the published networks that are no trials, or only scored ones, to compare with."""
    width, space = run.problem.width, run.problem.space
    tried = run.problem.members if run.judge.trains_each else ()
    archs, names = [], {}
    for name in (at_width(name, width) for name in run.settings.references):
        arch = adapted(name, space)
        try:
            [metrics] = run.evaluator.measure([arch])
        except UserError as error:
            run.console.print(f"left out  {name}: {error}")
            continue
        if name in tried and metrics.state != "infeasible":
            continue
        archs.append(arch)
        names[network_id(arch)] = name
    evaluate_beside(run, Role.REFERENCE, archs, run.evaluator.unlimited(), names=names)


def open_judge(run: SearchRun) -> Judge:
    """The judge that the settings name; a supernet is trained now, with progress."""
    with ProgressBar(run.console, "supernet") as bar:

        def on_progress(part: float, left: float, history: Any) -> None:
            bar.start(total=100)
            bar(int(100 * part), "% of the training")
            if part >= 1:
                bar.stop()  # labels have a bar of their own

        settings, problem = run.settings, run.problem
        context = JudgeContext(
            space=problem.space,
            load=run.load,
            device=settings.device,
            seed=settings.seed,
            train=run.workers,
            label=LabelJudge(run),
            draw=lambda number: problem.sample_evenly(number, settings.seed),
            draw_near=lambda number: problem.sample_near(
                problem.decisive_ms, number, settings.seed, LABEL_STREAM
            ),
            feasible=problem.feasible.allows,
            checkpoint=run.folder / "supernet.pt",
            progress=on_progress,
        )
        return open_helped(settings, run.judge, context)


@dataclass(frozen=True)
class LabelJudge:
    """Trains networks, each once in the life of the run, for a judge to learn from."""

    run: SearchRun

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """What each training gave, or why it failed."""
        labels = evaluate_beside(self.run, Role.LABEL, archs, self.run.evaluator)
        for i, m in enumerate(labels):
            if m.state == "complete":
                yield i, Estimate(m.score, m.score_se, seconds=m.seconds, fidelity=m.fidelity)
            else:
                yield i, Failure(m.reason)


def first_trials(run: SearchRun) -> list[tuple[str, Picks]]:
    """The published networks inside the space, and a ladder of sizes, with names or ""."""
    ladder = (("", picks) for picks in size_ladder(run.problem.space, LADDER))
    return [*run.problem.members.items(), *ladder]


def run_trials(
    run: SearchRun, evaluator: Evaluator, first: Sequence[tuple[str, Picks]]
) -> str | None:
    """Evaluate the `first` networks, then what the sampler proposes."""
    study = run.study
    if study.num_evaluated >= run.num_trials:
        return None
    evaluator = replace(evaluator, pruning=pruning_rule(run))
    study.enqueue(first)
    leader = Leader(run.problem.target_ms)
    for metrics in study.known.values():
        leader.see(metrics)

    def evaluate(archs: Sequence[Arch]) -> Iterator[tuple[int, Metrics]]:
        dear = run.judge.trains_each  # seconds each, so each is written down at once
        return run.evaluations.evaluate(Role.TRIAL, archs, evaluator, write=dear)

    with (
        ProgressBar(run.console, "search", run.num_trials, study.num_evaluated) as bar,
        show_workers(run, bar),
    ):

        def on_result(metrics: Metrics) -> None:
            leader.see(metrics)
            bar(study.num_evaluated, leader.describe())

        batch = 2 * run.settings.workers if run.judge.trains_each else SCORED_AT_ONCE
        return study.run(evaluate, trials=run.num_trials, batch=batch, on_result=on_result)


@dataclass
class Leader:
    """The network of highest score within the target so far."""

    target_ms: float
    best: Metrics | None = None

    def see(self, metrics: Metrics) -> None:
        """Take `metrics` if they are better."""
        feasible = metrics.state == "complete" and metrics.latency_ms <= self.target_ms
        if feasible and (self.best is None or metrics.score > self.best.score):
            self.best = metrics

    def describe(self) -> str:
        """Its accuracy, or its bare score; "" where there is none."""
        if (best := self.best) is None:
            return ""
        words = f"score {best.score:.3g}" if isnan(best.accuracy) else f"{best.accuracy:.1%}"
        return f"best {words} within {self.target_ms:.3g} ms"


def pruning_rule(run: SearchRun) -> Pruning | None:
    """When a training stops early, published ones never; None where all run to their end."""
    if not run.judge.trains_each:
        return None
    members = run.problem.members.values()
    published = frozenset(network_id(fill(run.problem.space, picks)) for picks in members)
    return Pruning(run.study.known, rungs(run.settings.budget.make().epochs), published)


def train_finalists(run: SearchRun) -> None:
    """Train the most promising networks, and a spread of others to test the order by."""
    trials, settings = trial_frame(run.study.rows()), run.settings
    scored = trials[(trials["state"] == "complete") & trials["score"].notna()]
    target_ms = run.problem.target_ms
    chosen = choose_finalists(scored, target_ms, settings.finalists, settings.spread)
    ids = trials.set_index("number")["id"]
    archs = [run.arch_of(ids[number]) for number in chosen]
    for arch in run.evaluations.missing(Role.FINALIST, archs):
        for role in (Role.LABEL, Role.REFERENCE):  # trained alike
            if run.evaluations.is_complete(role, arch):
                run.evaluations.add(Role.FINALIST, arch, run.evaluations.metrics(role, arch))
                break
    evaluate_beside(run, Role.FINALIST, archs, run.evaluator.unlimited())


def evaluate_beside(
    run: SearchRun,
    role: Role,
    archs: Sequence[Arch],
    evaluator: Evaluator,
    *,
    names: Mapping[str, str] | None = None,
    at_once: int | None = None,
) -> list[Metrics]:
    """Metrics of networks that are no trials; `at_once` of them are evaluated at a time."""
    missing = run.evaluations.missing(role, archs)
    size, done = at_once or len(missing) or 1, 0
    with ProgressBar(run.console, role.value, len(missing)) as bar, show_workers(run, bar):
        for i in range(0, len(missing), size):
            for _ in run.evaluations.evaluate(role, missing[i : i + size], evaluator, names):
                bar(done := done + 1, "")
    return [run.evaluations.metrics(role, arch) for arch in archs]


def show_workers(run: SearchRun, bar: ProgressBar) -> AbstractContextManager[None]:
    """Let `bar` follow the trainings that the workers are at."""
    return run.workers.watched(lambda parts: bar.set_partial(sum(parts.values())))


def rows_trained(run: SearchRun) -> list[dict[str, Any]]:
    """Rows of the networks that were trained where trials are only scored.

    Those that the judge learnt from have no number; the finalists have that of their trial.
    """
    finalists = {row["id"]: row for row in run.evaluations.rows(Role.FINALIST)}
    labels = (row for row in run.evaluations.rows(Role.LABEL) if row["id"] not in finalists)
    rows = [row | picks_row(run, row["id"]) for row in labels]
    for trial in run.study.rows():
        if finalist := finalists.pop(trial["id"], None):  # not of a duplicate, which comes later
            rows.append(trial | finalist | {"number": trial["number"], "name": trial["name"]})
    return rows


def picks_row(run: SearchRun, key: str) -> dict[str, Any]:
    """The columns of a network's choices, as a trial has them."""
    picks = picks_of(run.problem.space, run.evaluations.arch(key))
    return {f"pick.{name}": label for name, label in picks.items()}


def measure_whole(run: SearchRun, archs: Mapping[str, Arch], again: bool) -> dict[str, float]:
    """Milliseconds of networks by id, each timed as a whole, once in the life of the run.

    Not `again`: those that are known.  So too where the device has gone away, which is said.
    """
    if not (device := run.problem.latency.device):
        return {}
    known: dict[str, float] = dict(run.store.note("measured", dict))
    if again and (missing := [key for key in archs if key not in known]):
        try:
            timings = device.measure_many([archs[key] for key in missing])
        except UserError as error:
            run.console.print(f"measured  nothing: {error}")
        else:
            known |= {key: t.median_ms for key, t in zip(missing, timings, strict=True)}
            run.store.set_note("measured", known)
    return {key: known[key] for key in archs if key in known}
