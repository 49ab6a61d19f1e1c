"""The units of a space: stem, stages, head, and what each combination of their choices makes.

A unit's frame (width, depth, stride) says how it leads from state to state (channels, side in
pixels, strides owed by skipped stages); its parts (blocks) say which rows it adds on the way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block, block_row
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.space.choices import Label, OneOf, choices, filled, holes

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
State = tuple[int, int, int]  # channels, side in pixels, strides owed
Fixed = tuple[tuple[int, int], ...]  # (column, index of the label) of choices that units share
MAX_SHARED = 4096  # combinations of shared choices, each a pass over the units
_SKIPPED = Stage(1, 0)


@dataclass(frozen=True, slots=True)
class Field:
    """A piece of the space, and its value under each combination of its choices.

    columns   of its choices in a genome, ascending;  ids: indices into `values`, an axis a choice.
    """

    columns: tuple[int, ...] = ()
    ids: Ints = field(default_factory=lambda: np.zeros((), np.int64))
    values: tuple[Any, ...] = (None,)

    def at(self, fixed: Fixed, free: Mapping[int, int]) -> Ints:
        """Flat ids over the product of the `free` columns (column: number of labels)."""
        known = dict(fixed)
        part = self.ids[tuple(known.get(c, slice(None)) for c in self.columns)]
        part = part.reshape([size if c in self.columns else 1 for c, size in free.items()])
        return np.broadcast_to(part, list(free.values())).ravel()

    def free(self, fixed: Fixed) -> dict[int, int]:
        """The columns that `fixed` leaves open, with their numbers of labels."""
        sizes = dict(zip(self.columns, self.ids.shape, strict=True))
        return {c: size for c, size in sizes.items() if c not in dict(fixed)}

    def of(self, genomes: Ints) -> Ints:
        """The id in each of the genomes (n, num_choices)."""
        code = np.zeros(len(genomes), np.int64)
        for column, size in zip(self.columns, self.ids.shape, strict=True):
            code = code * size + genomes[:, column]
        return self.ids.ravel().take(code)


class UnitKind(Protocol):
    """What a unit is; `frame` and `part` are values of its fields."""

    def exit(self, state: State, frame: Any) -> State | None:
        """The state behind the unit; None where the side is too small for the stride."""

    def context(self, slot: int, state: State, frame: Any) -> Hashable:
        """What the row in `slot` depends on beside the part; None for no such slot."""

    def part(self, slot: int, part: Any) -> Any:
        """What of the part the row in `slot` depends on; by default all of it."""
        return part

    def row(self, slot: int, context: Any, part: Any) -> Operator | None:
        """The row; None for a block without layers."""


class _StemKind(UnitKind):
    """The first convolution; its frame is a network of only that."""

    def exit(self, state: State, frame: Arch) -> State | None:
        if frame.stem.stride > 1 and frame.resolution < 2:
            return None
        return frame.stem.width, -(-frame.resolution // frame.stem.stride), 0

    def context(self, slot: int, state: State, frame: Arch) -> Arch:
        return frame

    def row(self, slot: int, context: Arch, part: None) -> Operator:
        return operators(context)[0]


@dataclass(frozen=True)
class _StageKind(UnitKind):
    """A stage of blocks; its frame is the stage, whose blocks are not read."""

    number: int

    def exit(self, state: State, frame: Stage) -> State | None:
        channels, side, owed = state
        if not frame.depth:
            return channels, side, owed + (frame.stride > 1)
        stride = _taken(owed, frame)
        if stride > 1 and side < 2:
            return None
        return frame.width, -(-side // stride), owed - (stride > frame.stride)

    def context(self, slot: int, state: State, frame: Stage) -> Hashable:
        channels, side, owed = state
        if slot >= frame.depth:
            return None
        stride = _taken(owed, frame)
        if slot:
            return frame.width, frame.width, 1, -(-side // stride)
        return channels, frame.width, stride, side

    def part(self, slot: int, part: Any) -> Block:
        blocks = part.blocks if isinstance(part, Stage) else part
        chosen: Block = blocks[min(slot, len(blocks) - 1)] if isinstance(blocks, tuple) else blocks
        return chosen

    def row(self, slot: int, context: tuple[int, int, int, int], part: Block) -> Operator | None:
        return block_row(f"stage{self.number}_block{slot + 1}", part, *context)


class _HeadKind(UnitKind):
    """What follows the stages; its one part is a network of only that."""

    def exit(self, state: State, frame: None) -> State:
        return 0, 0, 0

    def context(self, slot: int, state: State, frame: None) -> Hashable:
        return state[:2]

    def row(self, slot: int, context: tuple[int, int], part: Arch) -> Operator | None:
        rows = _head_rows(part.head, part.classes, *context)
        return rows[slot] if slot < len(rows) else None


@lru_cache(maxsize=4096)
def _head_rows(head: Head, classes: int, channels: int, side: int) -> tuple[Operator, ...]:
    stem = Stem(channels, stride=1)
    return operators(Arch((_SKIPPED,), stem, head, side, classes=classes))[1:]


def _taken(owed: int, stage: Stage) -> int:
    """The stride that a stage of blocks takes; see `nas.arch.arch.strides`."""
    return 2 if stage.stride == 1 and owed else stage.stride


@dataclass
class Unit:
    """Stem, stage or head: fields, then states and rows as the trellis finds them.

    exits   (states, frames): index of the state behind, -1 for none.
    rows    by part: ids (slots, states, frames, values of the part), -1 for no row.
    """

    kind: UnitKind
    frame: Field
    parts: list[tuple[Field, range]]
    exits: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    rows: list[NDArray[np.int32]] = field(default_factory=list)

    @property
    def columns(self) -> set[int]:
        """Of all choices that the unit reads."""
        return {c for piece in (self.frame, *(p for p, _ in self.parts)) for c in piece.columns}


class Layout:
    """The units of a space, with columns for names."""

    def __init__(self, space: Arch) -> None:
        self.labels = choices(space)
        self.column = {key: i for i, key in enumerate(self.labels)}
        stem = Arch((_SKIPPED,), space.stem, Head(), space.resolution, space.channels)
        head = Arch((_SKIPPED,), Stem(), space.head, classes=space.classes)
        self.units = [
            Unit(_StemKind(), self._field(stem, ""), [(Field(), range(1))]),
            *(self._stage(i, stage) for i, stage in enumerate(_stages(space))),
            Unit(_HeadKind(), Field(), [(self._field(head, ""), range(4))]),
        ]

    def _field(self, node: Any, path: str) -> Field:
        """`node` under every combination of the choices in it."""
        keys = sorted({key for key, _ in holes(node, path)}, key=self.column.__getitem__)
        sizes = [len(self.labels[key]) for key in keys]
        values: dict[Any, int] = {}
        ids = [
            values.setdefault(filled(node, dict(zip(keys, row, strict=True)), path), len(values))
            for row in product(*(self.labels[key] for key in keys))
        ]
        columns = tuple(self.column[key] for key in keys)
        return Field(columns, np.array(ids).reshape(sizes), tuple(values))

    def _stage(self, index: int, stage: Stage | OneOf) -> Unit:
        path = f"stages.{index}"
        plain = stage if isinstance(stage, OneOf) else replace(stage, blocks=Block())
        frame = self._field(plain, path)
        parts = _parts(stage, path, max(option.depth for option in frame.values))
        fields = [(self._field(node, where), slots) for node, where, slots in parts if slots]
        return Unit(_StageKind(index + 1), frame, fields)


def _parts(stage: Stage | OneOf, path: str, depth: int) -> list[tuple[Any, str, range]]:
    """What the stage's blocks are read from: node, path and which of `depth` slots it fills."""
    if isinstance(stage, OneOf):
        return [(stage, path, range(depth))]
    if not isinstance(stage.blocks, tuple):
        return [(stage.blocks, f"{path}.blocks", range(depth))]
    slots = [range(i, min(i + 1, depth)) for i in range(len(stage.blocks))]
    slots[-1] = range(len(slots) - 1, depth)  # the last repeats
    return [(stage.blocks[i], f"{path}.blocks.{i}", own) for i, own in enumerate(slots)]


def _stages(space: Arch) -> Sequence[Stage | OneOf]:
    """The stages; where they are one hole as a whole, a hole each."""
    whole: Any = space.stages
    if not isinstance(whole, OneOf):
        return space.stages
    most = max(len(stages) for stages in whole.options)
    padded = [stages + (_SKIPPED,) * (most - len(stages)) for stages in whole.options]
    name = whole.name or "stages"
    return [OneOf(column, whole.labels, name) for column in zip(*padded, strict=True)]


class AnyLayout(Protocol):
    """The choices of a space by key, in order, and its units in order of execution."""

    labels: dict[str, tuple[Label, ...]]
    units: list[Unit]


def combinations(layout: AnyLayout) -> list[list[Fixed]]:
    """Every combination of the choices that units share, as far as each unit has them."""
    uses = Counter(column for unit in layout.units for column in unit.columns)
    labels = list(layout.labels.values())
    shared = sorted(column for column, units in uses.items() if units > 1)
    total = math.prod(len(labels[c]) for c in shared)
    if total > MAX_SHARED:
        names = ", ".join(list(layout.labels)[c] for c in shared)
        raise UserError(
            f"{total} combinations of the choices {names}, which several of stem, stages and head "
            f"use: allowed are {MAX_SHARED}; narrow them or give holes different names"
        )
    units = [unit.columns for unit in layout.units]
    return [
        [
            tuple(pair for pair in zip(shared, labels, strict=True) if pair[0] in own)
            for own in units
        ]
        for labels in product(*(range(len(labels[c])) for c in shared))
    ]


def connect(units: Sequence[Unit]) -> list[list[State]]:
    """Set the exits of every unit; the states before each, until there are none, and at the end."""
    before: list[list[State]] = [[(0, 0, 0)]]
    for unit in units:
        found: dict[State | None, int] = {None: -1}
        exits = [
            [found.setdefault(unit.kind.exit(s, f), len(found) - 1) for f in unit.frame.values]
            for s in before[-1]
        ]
        unit.exits = np.array(exits, np.int64).reshape(len(before[-1]), len(unit.frame.values))
        before.append([state for state in found if state])
    return before


def live_edges(
    units: Sequence[Unit], combined: Sequence[Sequence[Fixed]], before: Sequence[Sequence[State]]
) -> list[dict[Fixed, Bools]]:
    """By unit and shared choices: which (state, frame) are on a path from end to end."""
    lives: list[dict[Fixed, Bools]] = [{} for _ in units]
    for fixed in combined:
        reached: Bools = np.ones(1, bool)
        edges: list[Bools] = []
        for unit, own, after in zip(units, fixed, before[1:], strict=True):
            allowed = np.zeros(len(unit.frame.values), bool)
            allowed[unit.frame.at(own, unit.frame.free(own))] = True
            edges.append(reached[:, None] & allowed & (unit.exits >= 0))
            reached = np.zeros(len(after), bool)
            reached[unit.exits[edges[-1]]] = True
        for unit, own, live, edge in reversed(list(zip(units, fixed, lives, edges, strict=True))):
            ends = np.append(reached, False)[unit.exits] & edge  # -1, no exit, is the last
            live[own] = live.get(own, False) | ends
            reached = np.logical_or.reduce(ends, axis=1)
    return lives


def occurring(unit: Unit, part: Field, live: Mapping[Fixed, Bools]) -> Bools:
    """Which (state, frame, value of the part) occur in a network."""
    shape = (*unit.exits.shape, len(part.values))
    mask = np.zeros(shape, bool)
    for fixed, edges in live.items():
        free = dict(sorted((unit.frame.free(fixed) | part.free(fixed)).items()))
        pairs = np.zeros(shape[1:], bool)
        pairs[unit.frame.at(fixed, free), part.at(fixed, free)] = True
        mask |= edges[:, :, None] & pairs
    return mask
