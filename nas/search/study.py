"""The search: Optuna's ask and tell over the choices of a space, resumable at any moment.

What is proposed depends on the seed, the number of the trial and what was told before, in trial
order; never on time, process or how often the run was stopped (only one of Optuna's own samplers,
stopped in the midst of a proposal, goes on with other random numbers).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from json import JSONDecodeError
from math import isnan
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.search.metrics import Metrics
from nas.search.samplers.known_cost import ExhaustedError
from nas.space.choices import Label, choices, fill, random_picks

Sampler = Callable[..., optuna.samplers.BaseSampler] | optuna.samplers.BaseSampler
Asked = tuple[Trial, Arch]
Evaluate = Callable[[Sequence[Arch]], Iterable[tuple[int, Metrics]]]

# After this many known networks in a row the sampler is helped out with a random new one.
MOST_REPEATS = 10
# What Optuna is told of trials that have no values.
ENDS = {"failed": TrialState.FAIL, "pruned": TrialState.PRUNED}
# Random draws before a space counts as exhausted.
MOST_DRAWS = 1000


class Study:
    """A search in progress: what is known of every network, kept in Optuna's storage.

    `sampler` makes a seeded Optuna sampler; `worst` is the score of guessing, told to Optuna
    for networks over a limit, which are never trained (it ranks them by their excess).
    """

    def __init__(
        self, space: Arch, *, name: str, storage: Any, sampler: Sampler, seed: int, worst: float
    ) -> None:
        self.space, self.sampler, self.seed, self.worst = space, sampler, seed, worst
        self.choices = choices(space)
        self.distributions: dict[str, BaseDistribution] = {
            k: CategoricalDistribution(v) for k, v in self.choices.items()
        }
        try:
            self.optuna = optuna.create_study(
                study_name=name,
                storage=storage,
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
        except JSONDecodeError as error:
            raise UserError(
                f"the run's journal is damaged ({error}): choose another run="
            ) from None
        self.known: dict[str, Metrics] = {}
        for trial in self.optuna.get_trials(deepcopy=False):
            if (metrics := metrics_of(trial)) and metrics.id not in self.known:
                self.known[metrics.id] = metrics
        self.found = self.judged  # before this process

    def note(self, key: str, make: Callable[[], Any]) -> Any:
        """A plain value kept with the study: read back, or made and kept the first time."""
        if key not in self.optuna.user_attrs:
            self.optuna.set_user_attr(key, make())
        return self.optuna.user_attrs[key]

    def measured(
        self, archs: Mapping[str, Arch], measure: Callable[[Sequence[Arch]], Sequence[Any]]
    ) -> dict[str, float]:
        """Milliseconds of `archs` by id; those that the study does not know are timed together."""
        known: dict[str, float] = dict(self.optuna.user_attrs.get("measured", {}))
        missing = [key for key in archs if key not in known]
        if missing:
            timings = measure([archs[key] for key in missing])
            known |= {k: t.median_ms for k, t in zip(missing, timings, strict=True)}
            self.optuna.set_user_attr("measured", known)
        return {key: known[key] for key in archs}

    def add_seconds(self, seconds: float) -> float:
        """The time spent so far, over all the processes that had a part; counts only new work."""
        total = self.optuna.user_attrs.get("seconds", 0.0)
        if self.judged > self.found:
            total = round(total + seconds, 1)
            self.optuna.set_user_attr("seconds", total)
        return float(total)

    def missing(self, kind: str, names: Iterable[str]) -> list[str]:
        """Those of `names` that `judge_apart` has not judged."""
        known = self.optuna.user_attrs
        return [name for name in names if f"{kind}:{name}" not in known]

    def judge_apart(
        self, kind: str, archs: Mapping[str, Arch], evaluate: Evaluate, told: Callable[[], None]
    ) -> None:
        """Judge networks that are no trials, by name, each once in the life of the study."""
        todo = self.missing(kind, archs)
        for i, metrics in evaluate([archs[name] for name in todo]):
            self.optuna.set_user_attr(f"{kind}:{todo[i]}", metrics.to_json())
            told()

    def rows_apart(self, kind: str) -> list[dict[str, Any]]:
        """What `judge_apart` found, as rows like those of `rows`; `name` tells them apart."""
        start = f"{kind}:"
        return [
            {"number": -1, "name": key.removeprefix(start), **metrics}
            for key, metrics in self.optuna.user_attrs.items()
            if key.startswith(start)
        ]

    def best_under(self, target_ms: float) -> str:
        """The best within the target so far, in words: its accuracy, or its bare score."""
        within = [
            m for m in self.known.values() if m.state == "complete" and m.latency_ms <= target_ms
        ]
        if not within:
            return ""
        best = max(within, key=lambda m: m.score)
        said = f"score {best.score:.3g}" if isnan(best.accuracy) else f"{best.accuracy:.1%}"
        return f"best {said} within {target_ms:.3g} ms"

    def arch_of(self, number: int) -> Arch:
        """The network of trial `number`."""
        return fill(self.space, self.optuna.get_trials(deepcopy=False)[number].params)

    def enqueue(self, first: Iterable[tuple[str, Mapping[str, Label]]]) -> None:
        """Networks to try before anything else, with names or "".  Asked again, nothing happens."""
        for name, picks in first:
            self.optuna.enqueue_trial(dict(picks), {"name": name}, skip_if_exists=True)

    @property
    def judged(self) -> int:
        """Distinct networks that were trained, or failed at it."""
        return sum(m.state != "infeasible" for m in self.known.values())

    def run(
        self, evaluate: Evaluate, *, trials: int, batch: int, told: Callable[[], None]
    ) -> str | None:
        """Ask, evaluate and tell until `trials` networks are judged; `told` is called after each.

        `batch` networks are asked for at a time.  Returns why it stopped early, or None.
        """
        # infeasible networks cost no training but a moment each: at most this many in all
        most = 20 * trials + len(self.optuna.get_trials(deepcopy=False))
        while True:
            asked = self._left_running()
            if not self._partly_told(asked):
                self._fill_up(asked, min(batch, trials - self.judged))
            if not asked:
                done = self.judged >= trials
                return None if done else "every network that could be found in the space was tried"
            self._finish(asked, evaluate, told)
            if len(self.optuna.get_trials(deepcopy=False)) > most:
                return "nearly all proposals are over the limits"

    def _left_running(self) -> list[Asked]:
        """Trials that an earlier process died over, in order, with their networks."""
        left: list[Asked] = []
        for running in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._seed_sampler(running.number)
            trial = Trial(self.optuna, running._trial_id)
            for key, labels in self.choices.items():  # it may have died while being asked
                trial.suggest_categorical(key, labels)
            found = self._new(trial, {network_id(arch) for _, arch in left})
            left += [found] if found else []
        return left

    def _partly_told(self, asked: Sequence[Asked]) -> bool:
        """Whether `asked` is what is left of a batch of which something was told already."""
        batches = {trial.user_attrs.get("batch") for trial, _ in asked}
        return any(
            t.user_attrs.get("batch") in batches and not t.user_attrs.get("duplicate")
            for t in self.optuna.get_trials(deepcopy=False)
            if asked and metrics_of(t)
        )

    def _fill_up(self, asked: list[Asked], number: int) -> None:
        """Ask until the batch has `number` trials or nothing new is found."""
        while len(asked) < number:
            found = self._ask({network_id(arch) for _, arch in asked})
            if found is None:
                return
            asked.append(found)

    def _asked(self) -> Trial | None:
        """A new trial, or None where the sampler has no network left."""
        try:
            return self.optuna.ask(self.distributions)
        except ExhaustedError:
            running = self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            self.optuna.tell(running[-1].number, state=TrialState.FAIL)
            return None

    def _ask(self, pending: set[str]) -> Asked | None:
        """A trial of a network that is neither known nor pending, or None if none is left."""
        for repeat in range(MOST_REPEATS + 1):
            number = len(self.optuna.get_trials(deepcopy=False))
            self._seed_sampler(number)
            if repeat == MOST_REPEATS and not self._enqueue_new(pending, number):
                return None
            if (trial := self._asked()) is None:
                return None
            if found := self._new(trial, pending):
                return found
        return None

    def _seed_sampler(self, number: int) -> None:
        """Ours mixes the trial's number in by itself; Optuna's are made anew for each."""
        if isinstance(self.sampler, optuna.samplers.BaseSampler):
            self.optuna.sampler = self.sampler
        else:
            self.optuna.sampler = self.sampler(seed=_mixed(self.seed, number))

    def _new(self, trial: Trial, pending: set[str]) -> Asked | None:
        """The trial with its network, or None (and told) where that is known or pending already."""
        if "batch" not in trial.user_attrs:
            trial.set_user_attr("batch", len(self.known))
        arch = fill(self.space, trial.params)
        key = network_id(arch)
        if key in self.known:
            self._tell(trial, self.known[key], duplicate=True)
        elif key in pending:  # a twin within this batch, whose score is still unknown
            trial.set_user_attr("duplicate", True)
            self.optuna.tell(trial, state=TrialState.FAIL)
        else:
            return trial, arch
        return None

    def _enqueue_new(self, pending: set[str], number: int) -> bool:
        rng = random.Random(_mixed(self.seed, number))
        for _ in range(MOST_DRAWS):
            picks = random_picks(self.space, rng)
            if network_id(fill(self.space, picks)) not in self.known.keys() | pending:
                self.optuna.enqueue_trial(picks)
                return True
        return False

    def _finish(self, asked: Sequence[Asked], evaluate: Evaluate, told: Callable[[], None]) -> None:
        """Evaluate, keep each answer as it comes, and tell them in the order of asking."""
        answers = {
            i: Metrics.from_json(trial.user_attrs["metrics"])
            for i, (trial, _) in enumerate(asked)
            if "metrics" in trial.user_attrs  # an earlier process got that far
        }
        todo = [i for i in range(len(asked)) if i not in answers]
        for i, metrics in evaluate([asked[i][1] for i in todo]):
            asked[todo[i]][0].set_user_attr("metrics", metrics.to_json())
            answers[todo[i]] = metrics
            self.known[metrics.id] = metrics
            told()
        for i, (trial, _) in enumerate(asked):
            self.known[answers[i].id] = answers[i]
            self._tell(trial, answers[i])

    def _tell(self, trial: Trial, metrics: Metrics, duplicate: bool = False) -> None:
        for limit, over in metrics.over.items():
            if limit not in trial.constraints:  # an earlier process may have died right here
                trial.set_constraint(limit, over)
        if duplicate:
            trial.set_user_attr("duplicate", True)
        trial.set_user_attr("metrics", metrics.to_json())
        if metrics.rungs:
            trial.set_user_attr("rungs", metrics.rungs)
        if metrics.state in ENDS:
            self.optuna.tell(trial, state=ENDS[metrics.state])
        else:
            score = metrics.score if metrics.state == "complete" else self.worst
            self.optuna.tell(trial, [score, metrics.latency_ms])

    def rows(self) -> list[dict[str, Any]]:
        """Every trial that has ended: number, state, name, metrics and picks, as plain values."""
        rows = []
        for trial in self.optuna.get_trials(deepcopy=False):
            metrics = metrics_of(trial)
            if metrics is None:
                continue
            if trial.user_attrs.get("duplicate"):
                metrics = replace(metrics, state="duplicate", seconds=0.0)
            row = {"number": trial.number, "name": trial.user_attrs.get("name", "")}
            picks = {f"pick.{k}": v for k, v in trial.params.items()}
            rows.append(row | metrics.to_json() | picks)
        return rows


def metrics_of(trial: FrozenTrial) -> Metrics | None:
    """What a finished trial was told, if it was."""
    data = trial.user_attrs.get("metrics") if trial.state.is_finished() else None
    return None if data is None else Metrics.from_json(data)


def _mixed(seed: int, number: int) -> int:
    """A 32-bit seed of its own for every trial of every run."""
    return random.Random(f"{seed}/{number}").getrandbits(32)
