"""A space as a trellis: every row it can have, 100,000 networks costed at once, exact extremes.

Between two stages all that matters of a network is its state (`units.py`), so a row is known by
the state before it, and the best network is found unit by unit.  Choices local to a unit are
optimised independently; choices that units share are enumerated (at most MAX_SHARED combinations).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.arch.arch import Arch
from nas.arch.cost import layers_cost, output_bytes
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.space.choices import Label, OneOf, Picks, fill
from nas.space.trellis.paths import MAX_VALUE, Rule, TrellisSearch
from nas.space.trellis.places import PlaceLayout
from nas.space.trellis.units import (
    Bools,
    Field,
    Ints,
    Layout,
    State,
    Unit,
    combinations,
    connect,
    live_edges,
    occurring,
)

Values = NDArray[Any]  # of int64 or a float type
_NOT_IN_ROWS = ("padding", "bn_eps", "bn_momentum", "drop_path")  # fields that tell networks apart


class NetworkCosts(NamedTuple):
    """The fields of `nas.arch.cost.Cost`, an array each."""

    macs: Ints
    params: Ints
    activations: Ints
    peak_memory_bytes: Ints


class Trellis:
    """The networks of `space`; a genome is an index into the labels of every choice.

    keys   the choices in order;  rows: all distinct rows, as layers, residual and being the stem
    tell them apart.  Raises UserError where the input is too small for every network, or where
    stem, stages and head share choices of more than MAX_SHARED combinations.
    """

    def __init__(self, space: Arch) -> None:
        for name in _NOT_IN_ROWS:
            if isinstance(getattr(space, name), OneOf):
                raise UserError(f"{name} cannot be chosen: give one value")
        layout = PlaceLayout(space) if space.dense else Layout(space)
        self.space = space
        self.keys = tuple(layout.labels)
        self._labels = tuple(layout.labels.values())
        self._units = layout.units
        self._combinations = combinations(layout)
        self._ids: dict[tuple[Any, ...], int] = {}
        self._found: list[Operator] = []
        states = connect(layout.units)
        live = live_edges(layout.units, self._combinations, states)
        if not any(edges.any() for edges in live[0].values()):
            self._refuse(np.zeros(len(self.keys), np.int64))
        for unit, before, edges in zip(layout.units, states, live, strict=False):
            for part, slots in unit.parts:
                mask = occurring(unit, part, edges)
                table = np.array([self._table(unit, part, i, before, mask) for i in slots])
                unit.rows.append(table[table.max(axis=(1, 2, 3)) >= 0])
        self.rows = tuple(self._found)

    def _table(
        self, unit: Unit, part: Field, slot: int, states: Sequence[State], mask: Bools
    ) -> NDArray[np.int32]:
        """Ids (states, frames, values) of the rows in `slot`, where `mask` has them."""
        kind = unit.kind
        contexts: dict[Any, int] = {None: 0}
        blocks: dict[Any, int] = {}
        seen = product(states, unit.frame.values)
        known = [contexts.setdefault(kind.context(slot, *c), len(contexts)) for c in seen]
        context = np.array(known).reshape(mask.shape[:2])
        block = np.array([blocks.setdefault(kind.part(slot, v), len(blocks)) for v in part.values])
        s, f, v = np.nonzero(mask & (context > 0)[:, :, None])
        needed = np.zeros((len(contexts), len(blocks)), bool)
        needed[context[s, f], block[v]] = True
        ids = np.full(needed.shape, -1, np.int32)
        all_contexts, all_blocks = list(contexts), list(blocks)
        for c, b in zip(*np.nonzero(needed), strict=True):
            row = kind.row(slot, all_contexts[c], all_blocks[b])
            if row:
                ids[c, b] = self._ids.setdefault(_identity(row), len(self._found))
                if ids[c, b] == len(self._found):
                    self._found.append(row)
        table = np.full(mask.shape, -1, np.int32)
        table[s, f, v] = ids[context[s, f], block[v]]
        return table

    def index(self, row: Operator) -> int:
        """The id of a row; UserError where no network of the space has it."""
        if row not in self:
            raise UserError(
                f"the space has no row {row.op} of {row.cin} to {row.cout} channels at "
                f"{row.side} pixels (place {row.place}): give a network of the space"
            )
        return self._ids[_identity(row)]

    def __contains__(self, row: Operator) -> bool:
        """Whether some network of the space has the row."""
        return _identity(row) in self._ids

    def encode(self, picks: Sequence[Picks]) -> Ints:
        """Genomes (n, num_choices) of picks."""
        indices = [{x: i for i, x in enumerate(labels)} for labels in self._labels]
        genomes = np.empty((len(picks), len(self.keys)), np.int64, order="F")
        for row, network in zip(genomes, picks, strict=True):
            try:
                row[:] = [known[network[k]] for known, k in zip(indices, self.keys, strict=True)]
            except (KeyError, TypeError):
                fill(self.space, network)  # says what is wrong
                raise
            if len(network) > len(self.keys):
                fill(self.space, network)
        return genomes

    def decode(self, genomes: ArrayLike) -> list[dict[str, Label]]:
        """Picks of genomes (n, num_choices)."""
        known = self.labels.items()
        return [
            {key: labels[i] for (key, labels), i in zip(known, row, strict=True)}
            for row in self._checked(genomes).tolist()
        ]

    @property
    def labels(self) -> dict[str, tuple[Label, ...]]:
        """The choices of the space, as `nas.space.choices.choices` has them."""
        return dict(zip(self.keys, self._labels, strict=True))

    def random(self, n: int, rng: np.random.Generator) -> Ints:
        """`n` genomes, each label uniformly at random."""
        genomes = np.empty((n, len(self.keys)), np.int64, order="F")
        for column, labels in enumerate(self._labels):
            genomes[:, column] = rng.integers(len(labels), size=n, dtype=np.int32)
        return genomes

    def _checked(self, genomes: ArrayLike) -> Ints:
        whole: Ints = np.asarray(genomes, np.int64, order="F")
        sizes = [len(labels) for labels in self._labels]
        if whole.ndim != 2 or whole.shape[1] != len(sizes):
            raise UserError(
                f"genomes must be an array (n, {len(sizes)}), one column a choice, not "
                f"{whole.shape}"
            )
        if not whole.size:
            return whole
        least, most = whole.min(axis=0), whole.max(axis=0)
        for column in np.flatnonzero((least < 0) | (most >= sizes)):
            raise UserError(
                f"genomes of {self.keys[column]} must be from 0 to {sizes[column] - 1}, not from "
                f"{least[column]} to {most[column]}"
            )
        return whole

    def _refuse(self, genome: Ints) -> None:
        labels = (known[i] for known, i in zip(self._labels, genome, strict=True))
        operators(fill(self.space, dict(zip(self.keys, labels, strict=True))))
        raise AssertionError("a network that runs has no path in the trellis")

    def row_ids(self, genomes: ArrayLike) -> NDArray[np.int32]:
        """Row ids (n, longest) in order of execution, -1 where a network has no such row."""
        known = self._checked(genomes)
        state = np.zeros(len(known), np.int64)
        columns: list[NDArray[np.int32]] = []
        for unit in self._units:
            edge = state * len(unit.frame.values) + unit.frame.of(known)
            state = unit.exits.ravel().take(edge)
            if len(state) and state.min() < 0:
                self._refuse(known[state.argmin()])
            for (part, _), table in zip(unit.parts, unit.rows, strict=True):
                at = edge * len(part.values) + part.of(known)
                columns += [slot.ravel().take(at) for slot in table]
        return np.array(columns).T

    def networks(self, genomes: ArrayLike) -> NDArray[np.int32]:
        """As `row_ids` with every -1 behind: equal lines are equal networks."""
        ids = self.row_ids(genomes)
        order = np.argsort(ids < 0, axis=1, kind="stable")
        return np.ascontiguousarray(np.take_along_axis(ids, order, axis=1))

    def totals(self, values: ArrayLike, genomes: ArrayLike) -> Values:
        """(n,) sums of the rows' `values` (num_rows,), added strictly in order of execution."""
        return _along(self._values(values), self.row_ids(genomes), peak=False)

    def _values(self, values: ArrayLike) -> Values:
        array = np.asarray(values)
        if array.shape != (len(self.rows),) or array.dtype.kind not in "biuf":
            raise UserError(
                f"values must be {len(self.rows)} numbers, one a row, not {array.dtype} of shape "
                f"{array.shape}"
            )
        return array if array.dtype.kind == "f" else array.astype(np.int64)

    @cached_property
    def row_costs(self) -> NetworkCosts:
        """Multiply-adds, parameters, bytes of the output and activations of every row."""
        counts = [(*layers_cost(row.layers), output_bytes(row)) for row in self.rows]
        return NetworkCosts(*np.array(counts, np.int64).T.copy())

    def costs(self, genomes: ArrayLike) -> NetworkCosts:
        """Equal to `nas.arch.cost.cost` of every network, an array (n,) a field."""
        ids, rows = self.row_ids(genomes), self.row_costs
        peaks = (name == "peak_memory_bytes" for name in NetworkCosts._fields)
        return NetworkCosts(*(_along(c, ids, peak=p) for c, p in zip(rows, peaks, strict=True)))

    def extreme(
        self, values: ArrayLike, *, most: bool = False, peak: bool = False
    ) -> tuple[float, dict[str, Label]]:
        """The least (or `most`) sum (or `peak`) of row values in the whole space, and its picks.

        Exact for whole numbers, and for others up to the rounding of a sum.
        """
        array = self._values(values)
        if not np.isfinite(array).all() or np.abs(array).max() >= MAX_VALUE:
            raise UserError("values must be finite and below 2^50: give every row one")
        search = TrellisSearch(self._units, self._combinations, array, Rule(most=most, peak=peak))
        genome = search.genome(len(self.keys))
        result = _along(array, self.row_ids(genome), peak=peak)[0].item()
        return result, self.decode(genome)[0]


def _identity(row: Operator) -> tuple[Any, ...]:
    return row.layers, row.residual, row.is_stem


def _along(values: Values, ids: NDArray[np.int32], *, peak: bool) -> Values:
    """(n,) sums or largest of `values` over ids (n, longest); -1 takes what changes nothing."""
    lowest = -np.inf if values.dtype.kind == "f" else np.iinfo(np.int64).min
    nothing = lowest if peak else 0
    known = np.append(values, np.array(nothing, values.dtype))
    result = np.full(len(ids), nothing, values.dtype)
    for column in ids.T:
        taken = known.take(column)
        result = np.maximum(result, taken) if peak else result + taken
    return result
