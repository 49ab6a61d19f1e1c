"""The best networks of one side of the input for every latency, by sums of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.inheritance.choice import best_sums
from nas.space.choices import Label
from search_spaces.inherited import at_resolution, replacement_rows, sides_of

RowMs = Callable[[Operator], float]
Scores = Mapping[str, Mapping[Label, float]]  # nats by choice and label


@dataclass(frozen=True)
class Ladder:
    """The networks of one side that no other beats in both latency and sum of scores.

    ms, nats (n,)   of the rows that vary, and of the answers;  picks: of network i.
    """

    fixed: dict[str, Label]
    keys: tuple[str, ...]
    labels: tuple[tuple[Label, ...], ...]
    ms: NDArray[np.float64]
    nats: NDArray[np.float64]
    options: NDArray[np.intp]

    @classmethod
    def of(cls, space: Arch, side: int, scores: Scores, row_ms: RowMs) -> Ladder:
        """The exact choice for every budget at once."""
        rows = replacement_rows(space, side)
        labels = tuple(tuple(known) for known in scores.values())
        costs = [
            [0.0 if (row := rows[key][label]) is None else row_ms(row) for label in known]
            for key, known in scores.items()
        ]
        ms, nats, options = best_sums(costs, [list(known.values()) for known in scores.values()])
        moving = {row.place for by in rows.values() for row in by.values() if row}
        whole = at_resolution(space, side)
        ms = ms + sum(row_ms(row) for row in operators(whole) if row.place not in moving)
        fixed: dict[str, Label] = {"resolution": side} if len(sides_of(space)) > 1 else {}
        return cls(fixed, tuple(scores), labels, ms, nats, options)

    def picks(self, i: int) -> dict[str, Label]:
        """The picks of network i."""
        chosen = zip(self.keys, self.labels, self.options[i].tolist(), strict=True)
        return self.fixed | {key: labels[option] for key, labels, option in chosen}

    def evenly(self, number: int, least_ms: float) -> list[dict[str, Label]]:
        """`number` of them from the slowest on, evenly over the logarithm of the latency."""
        low = max(least_ms, self.ms[0])
        wanted = np.geomspace(self.ms[-1], min(low, self.ms[-1]), number)
        places = np.searchsorted(self.ms, wanted * (1 + 1e-9), side="right") - 1
        return [self.picks(i) for i in dict.fromkeys(places.tolist()) if i >= 0]

    def within(self, target_ms: float) -> dict[str, Label] | None:
        """The best within so many ms; None where there is none."""
        i = int(np.searchsorted(self.ms, target_ms, side="right")) - 1
        return self.picks(i) if i >= 0 else None
