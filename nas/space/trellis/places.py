"""The units of a space each of whose choices changes the row in one place, and no other.

So it is where widths between blocks are fixed, as in networks that inherit weights.  A head for
boxes or masks reads maps of several stages; with such widths it has the same rows in all networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.space.choices import Label, choices, fill, first_picks
from nas.space.trellis.units import Field, State, Unit, UnitKind

SIDE = "resolution"  # the choice that all rows depend on
RowsByLabel = Mapping[tuple[Label, Label], Operator | None]  # of one place, by side and label


@dataclass(frozen=True)
class _PlaceKind(UnitKind):
    """A place; its frame is the side of the input, its part the label of the choice there."""

    rows: RowsByLabel

    def exit(self, state: State, frame: Label) -> State:
        return state

    def context(self, slot: int, state: State, frame: Label) -> Label:
        return frame

    def row(self, slot: int, context: Label, part: Label) -> Operator | None:
        return self.rows[context, part]


class PlaceLayout:
    """The units of such a space, a place each, in order of execution.

    Raises UserError where a choice changes rows in several places.
    """

    def __init__(self, space: Arch) -> None:
        self.labels = choices(space)
        sides = self.labels.get(SIDE, ("",))
        first = {side: first_picks(space, side) for side in sides}
        whole = {side: _rows(space, first[side]) for side in sides}
        made = {
            key: {(s, x): _rows(space, first[s] | {key: x}) for s in sides for x in labels}
            for key, labels in self.labels.items()
            if key != SIDE
        }
        fullest = {key: max(rows, key=lambda at: len(rows[at]))[1] for key, rows in made.items()}
        places = max((_rows(space, first[s] | fullest) for s in sides), key=len)
        found: dict[str, dict[tuple[Label, Label], Operator | None]] = {
            place: {(side, ""): rows.get(place) for side, rows in whole.items()} for place in places
        }
        owner: dict[str, str] = {}
        for key, by_label in made.items():
            changed = {
                place
                for (side, _), rows in by_label.items()
                for place in rows.keys() | whole[side].keys()
                if rows.get(place) != whole[side].get(place)
            }
            if len(changed) > 1 or changed & owner.keys() or changed - found.keys():
                raise UserError(
                    f"the choice {key} changes {', '.join(sorted(changed))}: under a head for "
                    "boxes or masks each may change one row, so begin with weights=pretrained"
                )
            for place in changed:
                owner[place] = key
                found[place] = {at: rows.get(place) for at, rows in by_label.items()}
        frame = self._part(SIDE if SIDE in self.labels else None)
        self.units = [
            Unit(_PlaceKind(rows), frame, [(self._part(owner.get(place)), range(1))])
            for place, rows in found.items()
        ]

    def _part(self, key: str | None) -> Field:
        """A value for each label of the choice; the value "" for none."""
        if key is None:
            return Field(values=("",))
        labels = self.labels[key]
        return Field((list(self.labels).index(key),), np.arange(len(labels)), labels)


def _rows(space: Arch, picks: dict[str, Label]) -> dict[str, Operator]:
    return {row.place: row for row in operators(fill(space, picks))}
