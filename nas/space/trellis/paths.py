"""The best path through the units of a space, by dynamic programming over their states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.space.trellis.units import Bools, Field, Fixed, Ints, Unit

MAX_VALUE = 2**50  # of a row, so that the sum of a thousand stays below what no path attains:
_UNREACHABLE = 2**60  # four times this still fits into 64 bits
Values = NDArray[Any]  # of int64 or float64


@dataclass(frozen=True, slots=True)
class Rule:
    """Which of the paths is best."""

    most: bool
    peak: bool

    @property
    def worst(self) -> int:
        """What no path at all counts: less than one without rows."""
        return -2 * _UNREACHABLE if self.most else 2 * _UNREACHABLE

    @property
    def nothing(self) -> int:
        """What no row at all counts."""
        return -_UNREACHABLE if self.peak else 0

    def both(self, a: Values, b: Values) -> Values:
        """What both count together."""
        return np.asarray(np.maximum(a, b) if self.peak else a + b)

    def best(self, values: Values, axis: int) -> tuple[Values, Ints]:
        """The best along the axis, and where."""
        at = values.argmax(axis) if self.most else values.argmin(axis)
        return np.take_along_axis(values, np.expand_dims(at, axis), axis).squeeze(axis), at


@dataclass(frozen=True, slots=True)
class _Part:
    """A part whose own choices, those that nothing else reads, are at their best.

    outer   its other choices;  own: columns of its own ones, with their numbers of labels;
    values, at   (states, frames, ids of outer): the best, and its code over the own choices.
    """

    outer: Field
    own: dict[int, int]
    values: Values
    at: Ints


@dataclass(frozen=True, slots=True)
class _Edges:
    """A unit under fixed shared choices, from state to state.

    values, codes   (before, after): the best, and its code over the `free` choices;
    exist           (before, after): whether there is any.
    """

    values: Values
    codes: Ints
    exist: Bools
    free: dict[int, int]


class TrellisSearch:
    """The least (or most) sum (or peak) of row values over all paths."""

    def __init__(
        self, units: Sequence[Unit], combined: Sequence[Sequence[Fixed]], values: Values, rule: Rule
    ) -> None:
        self.rule = rule
        known = values if values.dtype.kind == "i" else values.astype(np.float64)
        self.values = np.append(known, np.array(self.rule.nothing, known.dtype))
        self.units, self.combined = units, combined
        shared = {column for fixed in combined for own in fixed for column, _ in own}
        self.parts = [self._parts(unit, shared) for unit in units]
        self.known: dict[tuple[int, Fixed], _Edges] = {}

    def _parts(self, unit: Unit, shared: set[int]) -> list[_Part]:
        fields = [unit.frame, *(part for part, _ in unit.parts)]
        settled = []
        for number, ((part, _), rows) in enumerate(zip(unit.parts, unit.rows, strict=True), 1):
            others = {c for i, f in enumerate(fields) if i != number for c in f.columns} | shared
            axes = [i for i, c in enumerate(part.columns) if c in others]
            rest = [i for i, c in enumerate(part.columns) if c not in others]
            sizes = [part.ids.shape[i] for i in axes]
            count = int(np.prod(sizes))
            outer = Field(tuple(part.columns[i] for i in axes), np.arange(count).reshape(sizes), ())
            own = {part.columns[i]: part.ids.shape[i] for i in rest}
            ids = part.ids.transpose(axes + rest).reshape(count, -1)
            taken = self.values.take(rows)
            join = np.maximum if self.rule.peak else np.add
            total = join.reduce(taken, axis=0, initial=self.rule.nothing)
            settled.append(_Part(outer, own, *self.rule.best(total[:, :, ids], 3)))
        return settled

    def _edges(self, number: int, fixed: Fixed) -> _Edges:
        if (number, fixed) in self.known:
            return self.known[number, fixed]
        unit, parts, rule = self.units[number], self.parts[number], self.rule
        free = unit.frame.free(fixed)
        for part in parts:
            free |= part.outer.free(fixed)
        free = dict(sorted(free.items()))
        frame = unit.frame.at(fixed, free)
        exits = unit.exits[:, frame]
        total = np.full(exits.shape, rule.nothing, self.values.dtype)
        for part in parts:
            total = rule.both(total, part.values[:, frame, part.outer.at(fixed, free)])
        after = int(unit.exits.max()) + 1
        found = [
            rule.best(np.where(exits == state, total, rule.worst), 1) for state in range(after)
        ]
        exist = [(exits == state).any(axis=1) for state in range(after)]
        values, codes = (np.stack(side, axis=1) for side in zip(*found, strict=True))
        edges = _Edges(values, codes, np.stack(exist, axis=1), free)
        return self.known.setdefault((number, fixed), edges)

    def genome(self, num_choices: int) -> Ints:
        """A genome (1, num_choices) on the best path."""
        best: tuple[Any, Sequence[Fixed], list[Ints]] | None = None
        sign = -1 if self.rule.most else 1
        for fixed in self.combined:
            value, back = self._run(fixed)
            if back and (best is None or sign * value < sign * best[0]):
                best = value, fixed, back
        assert best is not None
        _, fixed, back = best
        genome = np.zeros((1, num_choices), np.int64)
        state = 0
        for number in reversed(range(len(self.units))):
            before = int(back[number][state])
            self._trace(genome[0], number, fixed[number], before, state)
            state = before
        return genome

    def _run(self, fixed: Sequence[Fixed]) -> tuple[Any, list[Ints]]:
        """The best value under `fixed` and, by unit, the best state before each; or no states."""
        rule = self.rule
        values: Values = np.array([rule.nothing], self.values.dtype)
        reached: Bools = np.ones(1, bool)
        back = []
        for number, own in enumerate(fixed):
            edges = self._edges(number, own)
            exist = edges.exist & reached[:, None]
            paths = np.where(exist, rule.both(values[:, None], edges.values), rule.worst)
            values, before = rule.best(paths, 0)
            reached = np.logical_or.reduce(exist, axis=0)
            back.append(before)
        return values[0], back if reached[0] else []

    def _trace(self, genome: Ints, number: int, fixed: Fixed, before: int, after: int) -> None:
        """Write the choices of one edge into the genome."""
        edges = self._edges(number, fixed)
        genome[[c for c, _ in fixed]] = [label for _, label in fixed]
        code = int(edges.codes[before, after])
        _write(genome, edges.free, code)
        frame = int(self.units[number].frame.at(fixed, edges.free)[code])
        for part in self.parts[number]:
            outer = int(part.outer.at(fixed, edges.free)[code])
            _write(genome, part.own, int(part.at[before, frame, outer]))


def _write(genome: Ints, sizes: dict[int, int], code: int) -> None:
    for column, size in reversed(sizes.items()):
        code, genome[column] = divmod(code, size)
