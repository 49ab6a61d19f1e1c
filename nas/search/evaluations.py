"""What a search evaluated, network by network: each is written down as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.serialization import from_dict, to_dict
from nas.core.journal import KeyedJournal
from nas.search.metrics import Metrics
from nas.search.storage import TrialStore

EVALUATIONS = "evaluations.jsonl"
Evaluate = Callable[[Sequence[Arch]], Iterable[tuple[int, Metrics]]]


class Role(StrEnum):
    """Why a network was evaluated."""

    TRIAL = "trial"  # proposed by the sampler, and trained
    REFERENCE = "reference"  # a published network, to compare with
    LABEL = "label"  # trained, for the judge to learn from
    FINALIST = "finalist"  # scored as a trial, then trained
    RANDOM = "random"  # of the random search beside this one
    CHOICE = "choice"  # of inherited networks the best by sums of scores within the target
    CONTROL = "control"  # as fast as the winner, chosen without scores
    REFINED = "refined"  # a larger one, shrunk to the target, or its control of uniform width


TRAINED = (Role.REFERENCE, Role.LABEL, Role.FINALIST, Role.CONTROL)  # a failure may be mended


class Evaluations:
    """The evaluations of a run by role and network, kept in `path` (evaluations.jsonl).

    What is there is not evaluated again.  The `store` of a study in a database keeps them too, so
    that they are there on other machines.
    """

    def __init__(self, path: Path, store: TrialStore | None = None) -> None:
        self.journal, self.store = KeyedJournal(path, _key_of), store
        kept = store.kept() if store else {}
        for row in kept.values():
            with suppress(KeyError, TypeError, ValueError):  # what is damaged, or something else
                if self.journal.entries.get(_key_of(row)) != row:
                    self.journal.add(row)
        for row in self.journal.entries.values():
            if _name_of(row) not in kept:
                self._keep(row)

    def _keep(self, row: Mapping[str, Any]) -> None:
        if self.store:
            self.store.keep(_name_of(row), row)

    def __contains__(self, key: tuple[Role, str]) -> bool:
        return key in self.journal

    def metrics(self, role: Role, arch: Arch) -> Metrics:
        """What is known of `arch` in that role; KeyError where nothing is."""
        return Metrics.from_json(self.journal[role, network_id(arch)]["metrics"])

    def rows(self, role: Role) -> list[dict[str, Any]]:
        """The rows of a role in the order of evaluation: name and metrics, as in trials.csv."""
        return [
            {"name": row["name"], **row["metrics"]}
            for row in self.journal.entries.values()
            if row["role"] == role
        ]

    def arch(self, key: str) -> Arch:
        """The network of that id, whatever its role; KeyError where there is none."""
        for role in Role:
            if (role, key) in self:
                arch: Arch = from_dict(self.journal[role, key]["arch"])
                return arch
        raise KeyError(key)

    def missing(self, role: Role, archs: Iterable[Arch]) -> list[Arch]:
        """Those of `archs` that were not evaluated in that role, each once; failed trainings too.

        None is lost to a full memory for the whole run.
        """
        by_id = {network_id(arch): arch for arch in archs}
        return [arch for key, arch in by_id.items() if not self._is_known(role, key)]

    def _is_known(self, role: Role, key: str) -> bool:
        state = self._state(role, key)
        return state is not None and not (role in TRAINED and state == "failed")

    def is_complete(self, role: Role, arch: Arch) -> bool:
        """Whether it was evaluated in that role, to the end."""
        return self._state(role, network_id(arch)) == "complete"

    def _state(self, role: Role, key: str) -> str | None:
        return str(self.journal[role, key]["metrics"]["state"]) if (role, key) in self else None

    def add(self, role: Role, arch: Arch, metrics: Metrics, name: str = "") -> None:
        """Write down what is known of `arch`."""
        row = {"role": role.value, "id": metrics.id, "name": name, "arch": to_dict(arch)}
        self.journal.add(row | {"metrics": metrics.to_json()})
        self._keep(self.journal[role, metrics.id])

    def evaluate(
        self,
        role: Role,
        archs: Sequence[Arch],
        evaluate: Evaluate,
        names: Mapping[str, str] | None = None,
        *,
        write: bool = True,
    ) -> Iterator[tuple[int, Metrics]]:
        """(index, metrics) of `archs`, known ones last; `names` by id go with what is written.

        Whoever is asked for the others thus knows what it would in a run that was never stopped.
        """
        known = [i for i, arch in enumerate(archs) if self._is_known(role, network_id(arch))]
        missing = sorted(set(range(len(archs))) - set(known))
        for j, metrics in evaluate([archs[i] for i in missing]) if missing else ():
            if write:
                self.add(role, archs[missing[j]], metrics, (names or {}).get(metrics.id, ""))
            yield missing[j], metrics
        yield from ((i, self.metrics(role, archs[i])) for i in known)


def _name_of(row: Mapping[str, Any]) -> str:
    """What a row is kept by in a database."""
    return f"{row['role']}:{row['id']}"


def _key_of(row: Mapping[str, Any]) -> tuple[Role, str]:
    """The key of a row; raises KeyError, TypeError or ValueError where it is damaged."""
    metrics, arch = Metrics.from_json(dict(row["metrics"])), from_dict(row["arch"])
    if not (row["id"] == metrics.id == network_id(arch)):
        raise ValueError("another network than its id says")
    _ = row["name"]
    return Role(row["role"]), metrics.id
