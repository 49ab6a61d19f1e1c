"""Everything that a fit found out, a JSON line each as it comes, so that a killed fit goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.journal import append_entry, read_entries, to_plain

Floats = NDArray[np.float64]
Cost = Callable[[Sequence[Arch]], Floats]
Judge = Callable[[Sequence[tuple[Arch, int, int]]], Iterator[tuple[int, Any]]]
Elastic = Callable[[Sequence[Arch]], Judge]
Progress = Callable[[int, int, str], None]

COSTS_AT_ONCE = 16  # networks whose cost is asked for before it is written down


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One training: `id` of the network, how long and with what seed, and what came of it.

    Scores are fractions and nats with their standard errors over the images, NaN where the
    training failed, for the reason given.
    """

    id: str
    epochs: int
    seed: int
    cross_entropy: float
    cross_entropy_se: float
    accuracy: float
    accuracy_se: float
    fidelity: str = ""
    reason: str = ""


class FitJournal:
    """Costs and trainings by what was asked; the file belongs to one judge and one device."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.costs: dict[str, float] = {}
        self.rows: dict[tuple[str, int, int], TrainingRecord] = {}
        for entry in read_entries(path):
            self._know(entry)

    def _know(self, entry: dict[str, Any]) -> None:
        """Keep what the entry says, if it says something."""
        try:
            if "cost" in entry:
                self.costs[str(entry["id"])] = float(entry["cost"])
            else:
                known: dict[str, Any] = {k: math.nan if v is None else v for k, v in entry.items()}
                row = TrainingRecord(**known)
                self.rows[row.id, row.epochs, row.seed] = row
        except (ValueError, TypeError, KeyError):
            return

    def keep_cost(self, key: str, cost: float) -> None:
        """Remember what a network costs."""
        self.costs[key] = cost
        append_entry(self.path, {"id": key, "cost": cost})

    def keep(self, row: TrainingRecord) -> None:
        """Remember a training."""
        self.rows[row.id, row.epochs, row.seed] = row
        append_entry(self.path, to_plain(asdict(row)))


class Trainings:
    """Asks the judge for what the journal does not know; counts epochs, since trainings differ."""

    def __init__(self, judge: Judge, journal: FitJournal, progress: Progress) -> None:
        self.judge, self.journal, self.progress = judge, journal, progress
        self.done, self.total = 0, 0  # epochs
        self.seen: list[TrainingRecord] = []  # everything asked for, failures included

    def __call__(self, wanted: Sequence[tuple[Arch, int, int]], what: str) -> list[TrainingRecord]:
        """The rows of (network, epochs, seed), in that order, failures left out."""
        keys = [(network_id(arch), epochs, seed) for arch, epochs, seed in wanted]
        asked = {k: w for k, w in zip(keys, wanted, strict=True) if k not in self.journal.rows}
        # what is known is no work, and would make the time left look short
        self.total -= sum(w[1] for k, w in zip(keys, wanted, strict=True) if k not in asked)
        self._count(0, what)
        missing, order = list(asked.values()), list(asked)
        for i, answer in self.judge(missing) if missing else ():
            self.journal.keep(_row(order[i], answer))
            self._count(missing[i][1], what)
        rows = [self.journal.rows[key] for key in keys]
        self.seen += rows
        return [row for row in rows if not row.reason]

    def _count(self, epochs: int, what: str) -> None:
        self.done += epochs
        self.progress(self.done, max(self.done, self.total), what)


def _row(key: tuple[str, int, int], answer: Any) -> TrainingRecord:
    nan = math.nan
    if reason := getattr(answer, "reason", ""):  # of a Failure
        return TrainingRecord(*key, nan, nan, nan, nan, reason=str(reason))
    val = answer.val
    if not (math.isfinite(val.cross_entropy) and math.isfinite(val.accuracy)):
        return TrainingRecord(*key, nan, nan, nan, nan, reason="its scores are not finite")
    return TrainingRecord(
        *key, val.cross_entropy, val.cross_entropy_se, val.accuracy, val.accuracy_se,
        fidelity=getattr(answer, "fidelity", ""),
    )  # fmt: skip


class CostRatios:
    """What networks cost as multiples of the baseline; kept in the journal where that is slow."""

    def __init__(self, baseline: Arch, cost: Cost, journal: FitJournal, slow: bool) -> None:
        self.cost, self.journal, self.slow = cost, journal, slow
        self.unit = 1.0
        self.unit = float(self([baseline])[0])

    def __call__(self, archs: Sequence[Arch]) -> Floats:
        """Cost ratios [n] of networks [n]."""
        if not self.slow:
            return np.asarray(self.cost(archs), float) / self.unit
        keys, known = [network_id(arch) for arch in archs], self.journal.costs
        missing = {key: arch for key, arch in zip(keys, archs, strict=True) if key not in known}
        names = list(missing)
        for start in range(0, len(names), COSTS_AT_ONCE):
            part = names[start : start + COSTS_AT_ONCE]
            for key, cost in zip(part, self.cost([missing[k] for k in part]), strict=True):
                self.journal.keep_cost(key, float(cost))
        return np.array([known[key] for key in keys]) / self.unit
