"""The phases of a search that begins with a trained network's weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from nas.accuracy.estimate import Failure
from nas.accuracy.inherited import Inherited
from nas.accuracy.judge import Estimates, Thresholds
from nas.accuracy.pool import Pool
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.progress import ProgressBar
from nas.inheritance.files import replacements_path, weights_path
from nas.inheritance.ladder import RowMs
from nas.search.evaluations import Role
from nas.search.metrics import Metrics
from nas.search.phases import evaluate_beside, open_judge, run_trials, show_workers
from nas.search.problem import AS_FAST
from nas.search.setup import SearchRun
from nas.space.choices import Label, choices, fill
from search_spaces.inherited import at_resolution, replacement_rows, sides_of, whole_network

STEP = 16  # pixels between the sides that a baseline is tried at
LEAST = 32  # pixels of the smallest
WORDS = {"train": "train on", "study": "replace"}


@dataclass(frozen=True)
class Step:
    """A judge that does one step of the workers with each network, and tells its scores."""

    pool: Pool
    task: str

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """After the step."""
        return self.pool.run([(arch, self.task) for arch in archs])


def run_inheriting(run: SearchRun) -> str | None:
    """Train on, study blocks, judge a ladder, finish the best; why it stopped early, or None."""
    space = run.problem.space
    wholes = [at_resolution(space, side) for side in sides_of(space)]
    prepare(run, "train", wholes)
    prepare(run, "study", wholes)
    judge = open_judge(run)
    assert isinstance(judge, Inherited)
    evaluator = replace(run.evaluator, judge=judge)
    ladder = judge.propose(row_ms(run), run.num_trials)
    stopped = run_trials(run, evaluator, [("", picks) for picks in ladder])
    answers = [ladder.within(budget_ms(run)) for ladder in judge.ladders(row_ms(run))]
    exact = [fill(space, picks) for picks in answers if picks]
    evaluate_beside(run, Role.CHOICE, exact, evaluator)
    finish(run, Role.FINALIST, "finish", finalists(run))
    finish(run, Role.CONTROL, "finish", *controls(run, run.console.print))
    finish(run, Role.REFERENCE, "baseline", *baselines(run))
    return stopped


def prepare(run: SearchRun, task: str, archs: Sequence[Arch]) -> None:
    """Have the workers do `task` for each network, unless it is done; UserError where it fails.

    Also where its files were deleted, or are on another machine.
    """
    done = dict(run.store.note("prepared", dict))  # seconds by task and network
    missing = [
        arch
        for arch in archs
        if f"{task}:{network_id(arch)}" not in done or not has_files(run, task, arch)
    ]
    with ProgressBar(run.console, WORDS[task], len(missing)) as bar, show_workers(run, bar):
        for number, (i, found) in enumerate(Step(run.workers, task).estimate(missing), 1):
            if isinstance(found, Failure):
                raise UserError(f"{WORDS[task]}: {run.settings.arch} fails: {found.reason}")
            done[f"{task}:{network_id(missing[i])}"] = round(found.seconds, 1)
            run.store.set_note("prepared", done)
            side, val = missing[i].resolution, found.val
            bar(number, f"{side} px" + (f" {val.accuracy:.1%}" if val else ""))


def has_files(run: SearchRun, task: str, arch: Arch) -> bool:
    """Whether what the workers' `task` leaves of that network is in the run folder."""
    paths = [weights_path(run.folder, arch, task)]
    if task == "study":
        keys = replacement_rows(run.problem.space, arch.resolution)
        paths = [replacements_path(run.folder, arch.resolution, key) for key in keys]
    return all(path.exists() for path in paths)


def row_ms(run: SearchRun) -> RowMs:
    """Milliseconds that a row adds to a network's sum, by the search's latency table."""
    latency = run.problem.latency
    return lambda row: float(latency.row_ms[latency.trellis.index(row)])


def budget_ms(run: SearchRun) -> float:
    """What the rows of a network as slow as the target add up to."""
    return float(run.problem.latency.source.sum_ms(np.array(run.problem.target_ms)))


def finish(
    run: SearchRun,
    role: Role,
    task: str,
    archs: Sequence[Arch],
    names: dict[str, str] | None = None,
) -> None:
    """Train networks on, whatever they cost; again where their weights are gone."""
    evaluator = replace(run.evaluator.unlimited(), judge=Step(run.workers, task))
    known = evaluate_beside(run, role, archs, evaluator, names=names)
    done = [a for a, m in zip(archs, known, strict=True) if m.state == "complete"]
    gone = [arch for arch in done if not has_files(run, task, arch)]
    for _ in Step(run.workers, task).estimate(gone):
        pass


def known_as(run: SearchRun, role: Role) -> list[Metrics]:
    """The metrics of all networks of that role."""
    rows = run.evaluations.rows(role)
    return [Metrics.from_json({k: v for k, v in row.items() if k != "name"}) for row in rows]


def judged(run: SearchRun) -> list[Metrics]:
    """Every network with inherited weights, within the target."""
    found = {m.id: m for m in [*known_as(run, Role.CHOICE), *run.study.known.values()]}
    target = run.problem.target_ms
    return [m for m in found.values() if m.state == "complete" and m.latency_ms <= target]


def finalists(run: SearchRun) -> list[Arch]:
    """The best of each side within the target, then the next best, by cross-entropy.

    Sides come first, since scores before training do not compare them well.
    """
    ranked = sorted(judged(run), key=lambda m: -m.score)
    archs = [run.arch_of(m.id) for m in ranked]
    first: dict[int, Arch] = {}
    for arch in archs:
        first.setdefault(arch.resolution, arch)
    rest = [arch for arch in archs if arch not in first.values()]
    return [*first.values(), *rest][: run.settings.finalists]


def best_finished(run: SearchRun) -> Metrics | None:
    """The finished network within the target that is best on validation images."""
    rows = [
        {k: v for k, v in r.items() if k != "name"} for r in run.evaluations.rows(Role.FINALIST)
    ]
    known = [Metrics.from_json(row) for row in rows]
    within = [m for m in known if m.state == "complete" and m.latency_ms <= run.problem.target_ms]
    return max(within, key=lambda m: m.score, default=None)


def controls(
    run: SearchRun, say: Callable[[str], None] = lambda line: None
) -> tuple[list[Arch], dict[str, str]]:
    """Networks as fast as the winner that no score chose: one of equal ratios, others at random.

    `say` is told where no equal ratios are as fast.
    """
    best, number = best_finished(run), run.settings.spread
    if best is None or not number:
        return [], {}
    found = {}
    if equal := equal_ratios(run, best.latency_ms):
        found["equal ratios"] = equal
    else:
        say(f"left out  equal ratios: none is within {best.latency_ms:.3g} ms, as the winner is")
    random = run.problem.sample_near(best.latency_ms, number - 1, run.settings.seed)
    found |= {f"random {i}": arch for i, arch in enumerate(random, 1)}
    return list(found.values()), {network_id(arch): name for name, arch in found.items()}


def equal_ratios(run: SearchRun, target_ms: float) -> Arch | None:
    """The largest network within the target whose blocks are all cut to nearly the same part.

    The first blocks have the next larger part, as many as the target allows; None where even the
    smallest part of all is over it.
    """
    space = run.problem.space
    known = {key: labels for key, labels in choices(space).items() if key != "resolution"}
    best: tuple[float, Arch] | None = None
    for side in sides_of(space):
        own = {"resolution": side} if len(sides_of(space)) > 1 else {}
        steps = [{key: _cut(labels, step) for key, labels in known.items()} for step in range(8)]
        mixed = [
            {**below, **{key: above[key] for key in list(known)[:i]}}
            for above, below in pairwise(steps)
            for i in range(len(known), -1, -1)
        ]
        archs = [fill(space, {**picks, **own}) for picks in mixed]
        timings = run.problem.latency.measure_many(archs)
        for arch, timing in zip(archs, timings, strict=True):
            if timing.median_ms <= target_ms:
                if best is None or timing.median_ms > best[0]:
                    best = timing.median_ms, arch
                break
    return best[1] if best else None


def _cut(labels: Sequence[Label], step: int) -> Label:
    """The label `step` parts below the block itself, its kernel kept."""
    kernel = str(labels[0]).split()[0]
    same = [label for label in labels if str(label).split()[0] == kernel]
    return same[min(step, len(same) - 1)]


def baselines(run: SearchRun) -> tuple[list[Arch], dict[str, str]]:
    """What a user would do otherwise: whole networks at the largest side within the target.

    Their latency is measured, so the sides are kept for the life of the run.
    """
    chosen = run.store.note(baselines_of(run), lambda: measured_sides(run))
    archs = {f"{name} at {side} px": whole(run, name, side) for name, side in chosen}
    return list(archs.values()), {network_id(arch): name for name, arch in archs.items()}


def has_baselines(run: SearchRun) -> bool:
    """Whether they were measured for this target."""
    return baselines_of(run) in run.store.notes()


def baselines_of(run: SearchRun) -> str:
    """The note that they are kept in."""
    return f"baselines:{run.problem.target_ms:g}"


def whole(run: SearchRun, name: str, side: int) -> Arch:
    """The network `name` at that side, with what answers as in the space."""
    space = run.problem.space
    arch = whole_network(name, side, space.channels, space.classes, space.dense)
    return replace(arch, name=name)


def measured_sides(run: SearchRun) -> list[tuple[str, int]]:
    """The network itself and each reference, with the largest side that is as fast as the target.

    As fast is what is within AS_FAST of it; the smallest side where none is.
    """
    most, found = sides_of(run.problem.space)[0], []
    for name in dict.fromkeys((str(run.settings.arch), *run.settings.references)):
        sides = range(most, LEAST - 1, -STEP)
        try:
            archs = [whole(run, name, side) for side in sides]
            timings = run.problem.latency.measure_many(archs)
        except UserError as error:
            run.console.print(f"left out  {name}: {error}")
            continue
        limit = (1 + AS_FAST) * run.problem.target_ms
        within = [
            side for side, timing in zip(sides, timings, strict=True) if timing.median_ms <= limit
        ]
        found.append((name, within[0] if within else sides[-1]))
    return found
