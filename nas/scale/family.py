"""A family of networks by one scaling rule: what was asked for, and what rounding made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.arch.scaling import EFFICIENTNET_LITES, TABLES, Factors, apply, as_published, published
from nas.core.checks import check_option
from nas.core.errors import UserError

STEPS_PER_PHI = 1000  # how finely phi is solved for
MAX_ABS_PHI = 100


@dataclass(frozen=True)
class Rule:
    """Scaling by one number: `factors(phi)`, and how `apply` rounds and what stays."""

    name: str
    factors: Callable[[float], Factors]
    fixed_ends: bool = False
    repeats: str = "ceil"

    def member(self, baseline: Arch, phi: float) -> Member:
        """The network at `phi`; UserError where its input would be too small or too large."""
        try:
            factors = self.factors(phi)
            arch = apply(baseline, factors, fixed_ends=self.fixed_ends, repeats=self.repeats)
            cost(arch)  # raises UserError where the strides outlast the input
        except UserError as error:
            raise UserError(f"phi={phi:g} with rule={self.name} is not possible: {error}") from None
        name = f"phi{phi:g}"
        return Member(name, phi, factors, replace(arch, name=f"{baseline.name}_{name}".strip("_")))


@dataclass(frozen=True)
class Member:
    """One network of a family, with its `factors` before anything was rounded.

    `phi` is the logarithm (base 2) of the cost ratio that was asked for, or that the factors of a
    published row promise.
    """

    name: str
    phi: float
    factors: Factors
    arch: Arch


def steps(phi: float) -> list[float]:
    """0, 1, 2 and so on as far as `phi`, which is the last; towards -1 where it is negative."""
    whole = [math.copysign(i, phi) for i in range(1, math.ceil(abs(phi)))]
    return [0.0, *whole, float(phi)] if phi else [0.0]


def family(baseline: Arch, rule: Rule, phi: float) -> list[Member]:
    """The networks from the baseline (phi = 0) to `phi`, at `steps`."""
    return [rule.member(baseline, step) for step in steps(phi)]


def published_family(baseline: Arch, name: str) -> list[Member]:
    """The rows of the released table as far as `name` (b3: b0 to b3), applied to `baseline`."""
    check_option("name", name, TABLES)
    lite = name in EFFICIENTNET_LITES
    rows = [row for row in TABLES if (row in EFFICIENTNET_LITES) == lite]
    return [_published_member(baseline, row) for row in rows[: rows.index(name) + 1]]


def _published_member(baseline: Arch, name: str) -> Member:
    factors = published(name)
    try:
        arch = as_published(baseline, name)
        cost(arch)
    except UserError as error:
        raise UserError(f"name={name} is not possible: {error}") from None
    arch = replace(arch, name=f"{baseline.name}_{name}".strip("_"))
    return Member(name, math.log2(factors.cost), factors, arch)


def _num_blocks(arch: Arch) -> int:
    return sum(stage.depth for stage in arch.stages)


def _mean_width(arch: Arch) -> float:
    widths = [stage.width for stage in arch.stages if stage.depth]
    return sum(widths) / len(widths)


def family_table(members: Sequence[Member], latencies: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row a member, exact and rounded side by side; the first member is the baseline.

    depth_exact, width_exact   factors before rounding;  resolution_exact: pixels before rounding
    depth, width   after rounding: blocks and mean channels over those of the baseline
    macs_promised  depth * width^2 * resolution^2 of the exact factors
    two_to_phi     the cost ratio that EfficientNet's rule asks for
    latency_ms     of `latencies`, by `network_id`; None where it was not measured
    """
    base = members[0].arch
    base_macs, base_ms = cost(base).macs, latencies.get(network_id(base))
    rows = []
    for member in members:
        arch, key, costs = member.arch, network_id(member.arch), cost(member.arch)
        ms = latencies.get(key)
        rows.append({
            "name": member.name,
            "phi": member.phi,
            "depth_exact": member.factors.depth,
            "depth": _num_blocks(arch) / _num_blocks(base),
            "width_exact": member.factors.width,
            "width": _mean_width(arch) / _mean_width(base),
            "resolution_exact": base.resolution * member.factors.resolution,
            "resolution": arch.resolution,
            "num_blocks": _num_blocks(arch),
            "two_to_phi": 2**member.phi,
            "macs_promised": member.factors.cost,
            "macs_ratio": costs.macs / base_macs,
            "latency_ratio": ms / base_ms if ms and base_ms else None,
            "macs": costs.macs,
            "params": costs.params,
            "peak_memory_bytes": costs.peak_memory_bytes,
            "latency_ms": ms,
            "id": key,
        })  # fmt: skip
    return rows


@dataclass(frozen=True)
class PhiSolution:
    """The largest phi, in steps of 1 / STEPS_PER_PHI, whose rounded network is within a budget.

    `price` is in the budget's unit; next_phi and next_price are of the first network beyond it.
    """

    member: Member
    price: float
    budget: float
    next_phi: float
    next_price: float

    @property
    def slack(self) -> float:
        """The part of the budget that rounding leaves unused."""
        return 1 - self.price / self.budget

    def to_json(self) -> dict[str, float]:
        """Plain numbers for summary.json."""
        names = ("budget", "price", "slack", "next_phi", "next_price")
        return {"phi": self.member.phi, **{name: getattr(self, name) for name in names}}


def largest_phi_within(
    baseline: Arch, rule: Rule, budget: float, price: Callable[[Arch], float], what: str
) -> PhiSolution:
    """Bisect for the largest phi whose network costs at most `budget` by `price(arch)`.

    Rounding makes the price a staircase, which is searched between a whole phi that fits and the
    next.  Raises UserError, which names the budget as `what`, where no network fits or all do.
    """

    def member_at(k: int) -> Member | None:
        if abs(k) > MAX_ABS_PHI * STEPS_PER_PHI:
            return None
        try:
            return rule.member(baseline, k / STEPS_PER_PHI)
        except UserError:
            return None

    def fits(k: int) -> bool:
        member = member_at(k)  # None: too small to be built, so cheap enough, or too large
        return k < 0 if member is None else price(member.arch) <= budget

    low = high = 0
    if fits(0):
        while fits(high):
            low, high = high, high + STEPS_PER_PHI
    while not fits(low):
        low, high = low - STEPS_PER_PHI, low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    inside, beyond = member_at(low), member_at(high)
    if inside is None or beyond is None:
        which, last = ("largest", inside) if beyond is None else ("smallest", beyond)
        assert last is not None
        raise UserError(
            f"{what} is out of reach: the {which} network that rule={rule.name} makes of this "
            f"baseline (phi={last.phi:g}, {last.arch.resolution} pixels) has "
            f"{price(last.arch):.4g}; take another budget or another baseline (arch=)"
        )
    return PhiSolution(inside, price(inside.arch), budget, beyond.phi, price(beyond.arch))


def members_within_budget(
    rows: Sequence[Member], budget: float, price: Callable[[Arch], float], what: str
) -> list[Member]:
    """The first of `rows`, which grow, that are within the budget, named `what` in the error."""
    within = list(takewhile(lambda row: price(row.arch) <= budget, rows))
    if not within:
        raise UserError(
            f"{what} is out of reach: {rows[0].name}, the smallest row of the table, has "
            f"{price(rows[0].arch):.4g}; raise it, or take a smaller baseline (arch=)"
        )
    return within
