"""What a study keeps in Optuna's user attributes moves to evaluations.jsonl, and the run goes on.

That is what was salvaged from a damaged journal, and what runs of version 0.1 kept there: they
wrote "kind:name" keys for networks that were no trials, and a trial as soon as it was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.search.evaluations import Evaluations, Role
from nas.search.metrics import Metrics
from nas.search.problem import Problem
from nas.search.salvage import NOTE
from nas.search.settings import SearchSettings
from nas.search.storage import TrialStore
from nas.space.choices import Picks, fill
from search_spaces.lookup import adapted

ROLES = {
    "published": Role.REFERENCE,
    "label": Role.LABEL,
    "random": Role.RANDOM,
    "alone": Role.FINALIST,
}


def take_over(
    store: TrialStore, evaluations: Evaluations, problem: Problem, settings: SearchSettings
) -> None:
    """Bring what was salvaged, or is of version 0.1, to its place; nothing happens to others."""
    take_over_salvaged(store, evaluations, problem.space)
    old: dict[str, list[tuple[str, Metrics]]] = {}
    for key, value in store.notes().items():
        kind, _, name = key.partition(":")
        if kind in ROLES:
            old.setdefault(kind, []).append((name, Metrics.from_json(value)))
    for kind, rows in old.items():
        arch_of = _networks(kind, len(rows), store, problem, settings)
        for name, metrics in rows:
            arch = arch_of(name)
            known = (ROLES[kind], metrics.id) in evaluations
            if not known and network_id(arch) == metrics.id:
                evaluations.add(ROLES[kind], arch, metrics, name if kind == "published" else "")
    for trial in store.end_unfinished():
        if "metrics" in trial.user_attrs:
            _add_trial(evaluations, problem.space, trial.params, trial.user_attrs["metrics"])


def take_over_salvaged(store: TrialStore, evaluations: Evaluations, space: Arch) -> None:
    """What is known of trials that are proposed again, since trials before them are lost."""
    rows = store.notes().get(NOTE)
    for row in rows or ():
        _add_trial(evaluations, space, row["params"], row["metrics"])
    if rows:
        store.set_note(NOTE, [])


def _add_trial(
    evaluations: Evaluations, space: Arch, params: Picks, data: Mapping[str, Any]
) -> None:
    """Write down what is known of a trial that is proposed again."""
    arch, metrics = fill(space, params), Metrics.from_json(data)
    if (Role.TRIAL, metrics.id) not in evaluations and network_id(arch) == metrics.id:
        evaluations.add(Role.TRIAL, arch, metrics)


def _networks(
    kind: str, number: int, store: TrialStore, problem: Problem, settings: SearchSettings
) -> Callable[[str], Arch]:
    """What gives the network of a name: a published one, an index, or a trial's number."""
    if kind == "published":
        return lambda name: adapted(name, problem.space)
    if kind == "alone":
        params = {trial.number: trial.params for trial in store.trials()}
        return lambda name: fill(problem.space, params[int(name)])
    if kind == "label":
        num_labels = int(settings.accuracy.node["num_labels"])
        archs = problem.sample_evenly(num_labels, settings.seed)
    else:
        archs = problem.sample(number, settings.seed)
    return lambda name: archs[int(name)]
