"""What a search needs, opened and checked before anything is spent on training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.accuracy.executor import Executor
from nas.accuracy.inheritance_worker import InheritanceWorker
from nas.accuracy.inherited import InheritedSettings
from nas.accuracy.judge import JudgeSettings, Load, make_judge
from nas.accuracy.pool import Pool
from nas.accuracy.scratch import Scratch
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.run_folder import (
    check_config,
    environment,
    lock_folder,
    open_folder,
    without_password,
    write_json,
    write_yaml,
)
from nas.data.dataset import ImageData
from nas.data.dense import DenseData
from nas.latency.store import open_latencies, table_folder
from nas.search.adoption import check_study
from nas.search.checking import check_parts, whose
from nas.search.database import close_database
from nas.search.defining import define_problem, sized_space
from nas.search.evaluations import EVALUATIONS, Evaluations
from nas.search.evaluator import Evaluator
from nas.search.kept_table import with_kept_table
from nas.search.netadapt import check_refinable
from nas.search.owner import owned
from nas.search.problem import Problem
from nas.search.report import print_space
from nas.search.samplers.for_space import KnownCost
from nas.search.samplers.warm_start import earlier_run
from nas.search.settings import SearchSettings
from nas.search.storage import TrialStore, open_storage
from nas.search.study import SearchStudy
from nas.search.takeover import take_over
from nas.space.bounds import check_limits, trellis_of
from nas.space.choices import choices
from nas.training.processes import num_started
from search_spaces.inherited import at_resolution, sides_of


@dataclass(frozen=True)
class SearchRun:
    """One run of a search: where it is kept, and what works for it."""

    settings: SearchSettings
    folder: Path
    load: Callable[[], ImageData]
    data: ImageData | DenseData
    problem: Problem
    judge: JudgeSettings  # says how accurate networks are, once it is opened
    workers: Pool  # train networks from scratch, several at a time
    store: TrialStore
    study: SearchStudy
    evaluations: Evaluations
    evaluator: Evaluator
    console: Console

    @property
    def num_trials(self) -> int:
        """Distinct networks to evaluate."""
        return self.settings.num_trials(self.judge.trains_each)

    @property
    def num_random(self) -> int:
        """Random networks to evaluate for comparison."""
        return self.settings.num_random(self.judge.trains_each)

    def arch_of(self, key: str) -> Arch:
        """The network of that id."""
        return self.study.arch_of(key) or self.evaluations.arch(key)


def open_search(settings: SearchSettings, stack: ExitStack, console: Console) -> SearchRun:
    """Open all that a search needs, for `stack` to close.

    The order matters: wrong settings are found before data are loaded, and that the folder is
    another run's before latency is measured; the configuration is written last.
    """
    executor: Executor = settings.executor.make()
    sampler, judge = settings.sampler.make(), make_judge(settings.accuracy)
    check_parts(settings, sampler, judge)
    load = settings.data.make
    data: ImageData | DenseData = load()
    settings, space = sized_space(settings, data)
    check_limits(settings.limit, space)
    if isinstance(judge, InheritedSettings):
        whole = at_resolution(space, sides_of(space)[0])
        console.print(f"weights   {whose(judge.weights, whole)}")
    folder = open_folder(Path(settings.results) / "search" / settings.run)
    stack.enter_context(lock_folder(folder))
    print_space(console, settings.space.name, space, data)
    device, effort = settings.latency.make(), settings.table.make()
    table = table_folder(settings.results, settings.space.name, space, device, effort)
    config = settings.to_config(data.fingerprint, table.name) | begins_with(judge, space)
    check_config(folder / "config.yaml", config)
    work = partial(worker_of, settings, judge, space, folder)
    workers = stack.enter_context(executor.open(work, load, settings.workers))
    store = open_own_study(settings, folder, config, space, stack)
    if store.salvaged:
        console.print(f"journal   {store.salvaged}")
    store.say = console.print
    if settings.warm_start:  # another machine may not have that run, and needs it no more
        store.note("earlier", lambda: earlier_run(str(settings.warm_start), choices(space)))
    database = store if settings.storage else None
    measure = partial(
        open_latencies, trellis_of(space), device, effort, table, console, settings.strict
    )
    latency = with_kept_table(database, measure, console) if database else measure()
    evaluator = Evaluator(latency, workers, settings.limit)
    problem = define_problem(settings, space, store, evaluator)
    if settings.refine.name != "none":
        check_refinable(problem, settings.refine.make())
    store.note("config", lambda: config)
    write_yaml(folder / "config.yaml", config)
    about = {"seed": settings.seed, "latency": latency.describe(), "processes": num_started()}
    write_json(folder / "environment.json", environment(**about))
    evaluations = Evaluations(folder / EVALUATIONS, database)
    take_over(store, evaluations, problem, settings)
    score = judge.infeasible_score(data.num_classes)
    study = open_sampled(problem, store, sampler, settings, score)
    return SearchRun(
        settings, folder, load, data, problem, judge, workers, store, study, evaluations,
        replace(evaluator, max_ms=problem.max_ms, exempt=problem.exempt), console,
    )  # fmt: skip


def begins_with(judge: JudgeSettings, space: Arch) -> dict[str, Any]:
    """What config.yaml says of the network that is shrunk, and of its weights: files may change."""
    if not isinstance(judge, InheritedSettings):
        return {}
    whole = at_resolution(space, sides_of(space)[0])
    return {"network": network_id(whole), "weights_sha256": judge.weights.digest()}


def open_sampled(
    problem: Problem,
    store: TrialStore,
    sampler: Any,
    settings: SearchSettings,
    infeasible_score: float,
) -> SearchStudy:
    """The study with its sampler, which is told what an earlier run found."""
    if isinstance(sampler, KnownCost):
        sampler = sampler.for_space(
            problem.feasible,
            target_ms=problem.target_ms,
            seed=settings.seed,
            earlier=store.notes().get("earlier", []),
            log_likelihood=infeasible_score < 0,  # of guessing
        )
    return SearchStudy(
        problem.space, store, sampler, seed=settings.seed, infeasible_score=infeasible_score
    )


def open_own_study(
    settings: SearchSettings, folder: Path, config: Mapping[str, Any], space: Arch, stack: ExitStack
) -> TrialStore:
    """The run's study, this process its only owner; UserError where it is another's."""
    store = open_storage(folder, settings.storage, settings.run)
    stack.callback(close_database, store.study._storage)
    check_study(settings, config, store, space)
    if settings.storage:  # a journal is in the folder, which is locked
        what = f"the study {settings.run!r} in storage={without_password(settings.storage)}"
        stack.enter_context(owned(store, what))
    store.describe(describe_study(settings, folder))
    return store


def describe_study(settings: SearchSettings, folder: Path) -> str:
    """The study's note in optuna-dashboard, as Markdown."""
    return (
        f"# {settings.run}\n\n"
        f"`python -m nas.search`, space `{settings.space.name}`, data `{settings.data.name}`, "
        f"judge `{settings.accuracy.name}`, sampler `{settings.sampler.name}`, seed "
        f"{settings.seed}.\n\n"
        "- **score**: what the judge said, higher is better; for a network over a limit, which is "
        "not judged, the score of guessing\n"
        "- **latency_ms**: milliseconds by the latency table\n"
        "- user attributes `accuracy`, `test_accuracy` (of networks that were trained), `macs`, "
        "`params`, `peak_memory_bytes`: columns to sort by\n\n"
        f"The report is `{folder / 'report.html'}`."
    )


def worker_of(
    settings: SearchSettings, judge: JudgeSettings, space: Arch, folder: Path, load: Load
) -> partial[Any]:
    """What makes the function of a worker's process: it trains networks from scratch, or on."""
    budget = settings.budget.make()
    where, precision = (settings.device, settings.seed), settings.precision
    if isinstance(judge, InheritedSettings):
        what = (load, judge.weights, space, budget, *where, folder.resolve())
        task, at = settings.make_task(), settings.data.make
        return partial(InheritanceWorker.open, *what, precision=precision, task=task, load_at=at)
    return partial(Scratch.open, load, budget, *where, precision=precision)
