"""The least and the most that networks of a space cost, known before any is trained."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache

from nas.arch.arch import Arch
from nas.arch.cost import Cost
from nas.core.errors import UserError
from nas.space.choices import Label, choices
from nas.space.limits import COSTS, Limits
from nas.space.trellis.trellis import Trellis


@lru_cache(maxsize=4)
def trellis_of(space: Arch) -> Trellis:
    """The trellis of the space, made once."""
    return Trellis(space)


def by_cost(space: Arch) -> dict[str, list[Label]]:
    """The labels of every choice, fewest MACs first while all others have their most."""
    trellis = trellis_of(space)
    order = {key: list(labels) for key, labels in choices(space).items()}
    for _ in range(2):  # a second round, since the order of labels may depend on later choices
        for key in order:
            most = {k: labels[-1] for k, labels in order.items()}
            genomes = trellis.encode([most | {key: label} for label in order[key]])
            macs = dict(zip(order[key], trellis.costs(genomes).macs.tolist(), strict=True))
            order[key].sort(key=lambda label: macs[label])
    return order


def _extreme(space: Arch, metric: str, most: bool) -> float:
    trellis = trellis_of(space)
    values = getattr(trellis.row_costs, metric)
    return trellis.extreme(values, most=most, peak=metric == "peak_memory_bytes")[0]


def cost_bounds(space: Arch) -> tuple[Cost, Cost]:
    """(least, most) of each cost, exact over the whole space, each by a network of its own."""
    names = [f.name for f in fields(Cost)]
    least, most = (
        Cost(**{name: int(_extreme(space, name, end)) for name in names}) for end in (False, True)
    )
    return least, most


def size_ladder(space: Arch, rungs: int) -> list[dict[str, Label]]:
    """Picks of `rungs` networks from the smallest up to halfway to the largest.

    On a rung every choice takes the label at the same share of its labels in order of cost.
    Random picks crowd around the middle of a space; these reach the cheap end of the front.
    """
    order = by_cost(space)
    shares = [i / (2 * (rungs - 1)) for i in range(rungs)]
    return [
        {key: labels[int(share * (len(labels) - 1) + 0.5)] for key, labels in order.items()}
        for share in shares
    ]


def check_limits(limits: Limits, space: Arch) -> None:
    """Raise UserError where a limit on a cost is below all of the space."""
    for name, (field, unit) in COSTS.items():
        limit = getattr(limits, name)
        have = _extreme(space, field, most=False) / unit
        if limit is not None and have > limit:
            raise UserError(
                f"limit.{name}={limit:.12g} is out of reach: the least in the space is "
                f"{have:.12g}; raise it, or search in a smaller space"
            )
