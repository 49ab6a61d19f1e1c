"""The search: Optuna's ask and tell over the choices of a space, resumable at any moment.

Proposals depend only on the seed, the number of the trial and what was told before, in trial
order.  They are made on a study in memory, batch by batch; a batch that was not finished is
proposed again, the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from copy import copy
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.search.evaluations import Evaluate
from nas.search.metrics import Metrics
from nas.search.samplers.known_cost import ExhaustedError
from nas.search.storage import DIRECTIONS, TrialStore
from nas.space.choices import Label, choices, fill, random_picks

Sampler = Callable[..., optuna.samplers.BaseSampler] | optuna.samplers.BaseSampler
Asked = tuple[Trial, Arch]

MAX_REPEATS = 10  # known networks in a row, after which a random new one is tried
MAX_DRAWS = 1000  # random networks, after which a space counts as exhausted
MAX_INFEASIBLE = 20  # proposals over a limit for each network that was asked for
NAME = "search"  # of the study in memory
# Metrics that are attributes of a stored trial too; its values are the score and the latency.
COLUMNS = ("accuracy", "test_accuracy", "latency_ms", "macs", "params", "peak_memory_bytes")
STATES = {"failed": TrialState.FAIL, "pruned": TrialState.PRUNED}  # of trials without values


class SearchStudy:
    """A search in progress: what is known of every network.

    sampler            an Optuna sampler, or what makes one from a seed
    infeasible_score   the score of guessing, told to Optuna for networks over a limit, which
                       are never trained (it ranks them by their excess)
    known              metrics by network, of trials told and of those in flight
    """

    def __init__(
        self,
        space: Arch,
        store: TrialStore,
        sampler: Sampler,
        *,
        seed: int,
        infeasible_score: float,
    ) -> None:
        self.space, self.store, self.sampler, self.seed = space, store, sampler, seed
        self.infeasible_score = infeasible_score
        self.distributions = distributions_of(space)
        self.memory = optuna.storages.InMemoryStorage()
        self.optuna = optuna.create_study(
            study_name=NAME, storage=self.memory, directions=DIRECTIONS
        )
        self.known: dict[str, Metrics] = {}
        self.num_evaluated = 0  # distinct networks that were trained or scored, or failed at it
        self._load()

    def _load(self) -> None:
        """Take up what is stored, up to the end of the last whole batch.

        What is stored of a batch that is not whole waits in `_stored` until it is proposed again.
        """
        every = self.store.trials()
        trials = [trial for trial in every if _is_kept(trial)]
        first, end = trials[-1].user_attrs.get("batch_numbers", (0, 0)) if trials else (0, 0)
        whole = first if end > len(trials) else len(trials)
        # version 0.1 wrote trials as they were asked: of its last batch some may have no answer
        left = [t.user_attrs["batch"] for t in every if "batch" in t.user_attrs and not _is_kept(t)]
        if trials and trials[-1].user_attrs.get("batch") in left:
            whole = next(i for i, t in enumerate(trials) if t.user_attrs.get("batch") in left)
        for trial in trials[:whole]:
            self.optuna.add_trial(trial)
            if metrics := metrics_of(trial):
                self._learn(metrics)
            for key, value in trial.user_attrs.get("sampler_state", {}).items():
                self.memory.set_study_system_attr(self._study_id, key, value)
        self.num_trials = whole
        self._stored = trials[whole:]

    def _learn(self, metrics: Metrics) -> None:
        if metrics.id not in self.known:
            self.num_evaluated += metrics.state != "infeasible"
        self.known[metrics.id] = metrics

    def enqueue(self, first: Iterable[tuple[str, Mapping[str, Label]]]) -> None:
        """Networks to try before anything else, with names or ""; those tried before are left."""
        tried = [trial.params for trial in self.optuna.get_trials(deepcopy=False)]
        for name, picks in first:
            if picks not in tried:
                self.optuna.enqueue_trial(dict(picks), {"name": name})
                tried.append(dict(picks))

    def run(
        self, evaluate: Evaluate, *, trials: int, batch: int, on_result: Callable[[Metrics], None]
    ) -> str | None:
        """Ask for a batch, evaluate and tell it until `trials` networks are evaluated.

        Returns why it stopped early, or None.
        """
        max_trials = MAX_INFEASIBLE * trials + self.num_trials
        while self.num_evaluated < trials:
            first = self.num_trials
            asked = self._ask_batch(min(batch, trials - self.num_evaluated))
            if not asked:
                return "every network that could be found in the space was tried"
            self._finish(asked, evaluate, on_result)
            self._write(first)
            if self.num_trials > max_trials:
                return "nearly all proposals are over the limits"
        return None

    def _ask_batch(self, size: int) -> list[Asked]:
        """`size` trials of new networks, or fewer where no more are found."""
        asked: dict[str, Asked] = {}
        while len(asked) < size and (new := self._ask(asked.keys())):
            asked[network_id(new[1])] = new
        return list(asked.values())

    def _ask(self, pending: Set[str]) -> Asked | None:
        """A trial of a network that is neither known nor pending, or None if none is left."""
        for repeat in range(MAX_REPEATS + 1):
            self._seed_sampler()
            if repeat == MAX_REPEATS and not self._enqueue_new(pending):
                return None
            try:
                trial = self.optuna.ask(self.distributions)
            except ExhaustedError:
                self.optuna.tell(self.num_trials, state=TrialState.FAIL)
                self.num_trials += 1
                return None
            self.num_trials += 1
            arch = fill(self.space, trial.params)
            key = network_id(arch)
            if key not in self.known and key not in pending:
                return trial, arch
            trial.set_user_attr("duplicate", True)
            if key in pending:  # a twin within this batch, whose score is still unknown
                self.optuna.tell(trial, state=TrialState.FAIL)
            else:
                self._tell(trial, self.known[key])
        return None

    def _seed_sampler(self) -> None:
        """Ours mixes the trial's number in by itself; Optuna's are made anew for each."""
        if isinstance(self.sampler, optuna.samplers.BaseSampler):
            self.optuna.sampler = self.sampler
        else:
            self.optuna.sampler = self.sampler(seed=_trial_seed(self.seed, self.num_trials))

    def _enqueue_new(self, pending: Set[str]) -> bool:
        """Make the next trial a random new network, if one is found."""
        rng = random.Random(_trial_seed(self.seed, self.num_trials))
        for _ in range(MAX_DRAWS):
            picks = random_picks(self.space, rng)
            if network_id(fill(self.space, picks)) not in self.known.keys() | pending:
                self.optuna.enqueue_trial(picks)
                return True
        return False

    def _finish(
        self, asked: Sequence[Asked], evaluate: Evaluate, on_result: Callable[[Metrics], None]
    ) -> None:
        """Evaluate a batch, but for what is stored of it; tell it in the order of asking."""
        stored = {m.id: m for trial in self._stored if (m := metrics_of(trial))}
        answers: dict[int, Metrics] = {}
        missing = []
        for i, (_, arch) in enumerate(asked):
            if metrics := stored.get(network_id(arch)):
                answers[i] = metrics
            else:
                missing.append(i)
        known = list(answers.values())
        for j, metrics in evaluate([asked[i][1] for i in missing]) if missing else ():
            self._learn(metrics)
            answers[missing[j]] = metrics
            on_result(metrics)
        for metrics in known:  # last, or the others would be judged by more than the first time
            self._learn(metrics)
        for i, (trial, _) in enumerate(asked):
            self._tell(trial, answers[i])

    @property
    def _study_id(self) -> int:
        return self.memory.get_study_id_from_name(NAME)

    def _write(self, first: int) -> None:
        """Store the batch that began with trial number `first`.

        Every trial says where its batch begins and ends, in case it is only partly written; the
        last one brings what the sampler keeps with the study, such as NSGA-II's parents.
        """
        trials = self.optuna.get_trials(deepcopy=False)[first : self.num_trials]
        batch = [copy(trial) for trial in trials if _is_kept(trial)]
        numbers = {"batch_numbers": [first, first + len(batch)]}
        for trial in batch:
            trial.user_attrs = trial.user_attrs | numbers | _columns(trial)
        if batch and (state := self.memory.get_study_system_attrs(self._study_id)):
            batch[-1].user_attrs |= {"sampler_state": state}
        self.store.add(batch[len(self._stored) :])
        self._stored = []

    def _tell(self, trial: Trial, metrics: Metrics) -> None:
        for limit, excess in metrics.over.items():
            trial.set_constraint(limit, excess)
        trial.set_user_attr("metrics", metrics.to_json())
        if metrics.rungs:
            trial.set_user_attr("rungs", metrics.rungs)
        if metrics.state in STATES:
            self.optuna.tell(trial, state=STATES[metrics.state])
        else:
            score = metrics.score if metrics.state == "complete" else self.infeasible_score
            self.optuna.tell(trial, [score, metrics.latency_ms])

    def arch_of(self, key: str) -> Arch | None:
        """The network of that id, if it is a trial's that was told."""
        if key not in self.known:
            return None
        trials = self.optuna.get_trials(deepcopy=False)
        told = ((t, t.user_attrs.get("metrics")) for t in trials)
        params = (trial.params for trial, metrics in told if metrics and metrics["id"] == key)
        return next((fill(self.space, picks) for picks in params), None)

    def rows(self) -> list[dict[str, Any]]:
        """Every trial that was told: number, state, name, metrics and picks, as plain values."""
        rows = []
        for trial in self.optuna.get_trials(deepcopy=False):
            if (metrics := metrics_of(trial)) is None:
                continue
            if trial.user_attrs.get("duplicate"):
                metrics = replace(metrics, state="duplicate", seconds=0.0)
            row = {"number": trial.number, "name": trial.user_attrs.get("name", "")}
            picks = {f"pick.{name}": label for name, label in trial.params.items()}
            rows.append(row | metrics.to_json() | picks)
        return rows


def distributions_of(space: Arch) -> dict[str, BaseDistribution]:
    """The choices of a space as Optuna's distributions, by name."""
    return {name: CategoricalDistribution(labels) for name, labels in choices(space).items()}


def metrics_of(trial: FrozenTrial) -> Metrics | None:
    """What a finished trial was told, if it was."""
    data = trial.user_attrs.get("metrics") if trial.state.is_finished() else None
    return None if data is None else Metrics.from_json(data)


def _columns(trial: FrozenTrial) -> dict[str, float]:
    """What is known of a trial's network, a number each: columns that optuna-dashboard sorts by."""
    metrics = trial.user_attrs.get("metrics") or {}
    return {name: metrics[name] for name in COLUMNS if metrics.get(name) is not None}


def _is_kept(trial: FrozenTrial) -> bool:
    """Whether a trial was told: one that was ended while it was asked for or trained was not."""
    metrics, duplicate = trial.user_attrs.get("metrics"), trial.user_attrs.get("duplicate")
    if trial.state == TrialState.FAIL:
        return bool(duplicate) or (metrics is not None and metrics["state"] == "failed")
    return metrics is not None


def _trial_seed(seed: int, number: int) -> int:
    """A 32-bit seed of its own for every trial of every run."""
    return random.Random(f"{seed}/{number}").getrandbits(32)
