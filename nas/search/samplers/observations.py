"""What a study knows of the networks of a space, in the order of trial numbers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.search.samplers.genomes import Genomes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Row = tuple[list[int], float]  # a genome and a value


@dataclass(frozen=True)
class Observations:
    """What a study knows: the networks told, those under way, and all that may not come again."""

    genomes: Ints  # [n, choices]
    values: Floats  # [n], higher is better
    pending: Ints  # [p, choices]
    lower: Mapping[str, tuple[Ints, Floats]]  # networks and values of lower fidelities, by name
    seen: frozenset[Hashable]
    held: Mapping[int, int]  # choices that the trial was enqueued with


def observe(
    study: optuna.Study,
    space: Genomes,
    trial: FrozenTrial | None,
    proposed: Mapping[int, Mapping[str, Any]],
    earlier: Sequence[Row],
) -> Observations:
    """What `study` knows of the networks of `space`, beside `trial`; `earlier` is of another run.

    proposed   parameters of trials under way that the storage may not have yet, by number
    """
    number = -1 if trial is None else trial.number
    held = {} if trial is None else space.held(trial.system_attrs.get("fixed_params", {}))
    sign = -1.0 if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else 1.0
    genomes, values, pending, seen = [], [], [], []
    on_the_way: dict[str, list[Row]] = {}
    for other in study.get_trials(deepcopy=False):
        params = other.system_attrs.get("fixed_params", {}) | other.params
        if other.state == TrialState.RUNNING:
            params = proposed.get(other.number, {}) | params
        genome = space.genome(params)
        if genome is None or other.number == number:
            continue  # of another sampler's making, or the trial itself
        seen.append(genome)
        if other.state in {TrialState.RUNNING, TrialState.WAITING}:
            pending.append(genome)
            continue
        if (value := _value(other)) is not None:
            genomes.append(genome)
            values.append(sign * value)
        for step, value in reported(other).items():
            on_the_way.setdefault(step, []).append((genome, value))
    on_the_way |= {"earlier": list(earlier)} if earlier else {}
    shape = (-1, len(space.sizes))
    return Observations(
        np.array(genomes, np.int64).reshape(shape),
        np.array(values, np.float64),
        np.array(pending, np.int64).reshape(shape),
        _lower(on_the_way, {tuple(genome) for genome in genomes}, sign),
        frozenset(space.keys(np.array(seen, np.int64).reshape(shape))),
        held,
    )


def _value(trial: FrozenTrial) -> float | None:
    """The value of a complete trial within its constraints, if it has a finite one."""
    if trial.state != TrialState.COMPLETE or not np.isfinite(trial.values[0]):
        return None
    return None if any(c > 0 for c in trial.constraints.values()) else float(trial.values[0])


def reported(trial: FrozenTrial) -> dict[str, float]:
    """What a trial that was stopped or ran to its end reported on the way, by step."""
    if trial.state not in {TrialState.PRUNED, TrialState.COMPLETE}:
        return {}
    found = trial.intermediate_values or trial.user_attrs.get("rungs", {})
    return {str(step): float(v) for step, v in found.items() if np.isfinite(v)}


def _lower(
    found: Mapping[str, Sequence[Row]], told: set[tuple[int, ...]], sign: float
) -> dict[str, tuple[Ints, Floats]]:
    """The fidelities that know of a network whose value is not told; others add nothing."""
    return {
        name: (
            np.array([genome for genome, _ in rows], np.int64),
            sign * np.array([value for _, value in rows], np.float64),
        )
        for name, rows in found.items()
        if any(tuple(genome) not in told for genome, _ in rows)
    }
