"""Families: exact and rounded side by side, and the phi that meets a budget."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.arch.scaling import EFFICIENTNET, TABLES, Factors, dwr, formula
from nas.core.errors import UserError
from nas.scale.family import Rule, family, family_table, largest_phi_within, published_family, steps
from search_spaces.lookup import PUBLISHED

B0 = PUBLISHED["efficientnet_b0"]
SMALL = Arch((Stage(16, 2, 2), Stage(40)), Stem(16), Head(64), resolution=32, classes=10)
COMPOUND = Rule("formula", lambda phi: formula(*EFFICIENTNET, phi))


def macs(arch: Arch) -> float:
    return cost(arch).macs


@pytest.mark.parametrize(
    ("phi", "wanted"),
    [(0, [0]), (3, [0, 1, 2, 3]), (2.5, [0, 1, 2, 2.5]), (0.4, [0, 0.4]), (-1.5, [0, -1, -1.5])],
)
def test_steps(phi, wanted):
    assert steps(phi) == wanted
    assert math.copysign(1, steps(phi)[0]) == 1, "a zero has no sign"


def test_a_family_begins_with_the_baseline_itself():
    odd = replace(SMALL, stages=(Stage(20, 2, 2), Stage(30)), name="odd")
    members = family(odd, COMPOUND, 2)
    assert members[0].arch == odd
    assert [m.name for m in members] == ["phi0", "phi1", "phi2"]
    assert members[2].arch.name == "odd_phi2"


def test_the_table_has_exact_and_rounded_side_by_side():
    rows = family_table(family(B0, COMPOUND, 3), {})
    assert [row["num_blocks"] for row in rows] == [16, 23, 26, 31]
    third = rows[3]
    exact = [third[f"{name}_exact"] for name in ("depth", "width", "resolution")]
    assert exact == pytest.approx([1.2**3, 1.1**3, 224 * 1.15**3])
    assert third["depth"] == 31 / 16
    # (24 + 32 + 56 + 104 + 152 + 256 + 424) / (16 + 24 + 40 + 80 + 112 + 192 + 320)
    assert third["width"] == pytest.approx(1048 / 784)
    assert third["resolution"] == 341
    assert third["two_to_phi"] == 8
    assert third["macs_promised"] == pytest.approx(1.92027**3)
    assert third["macs_ratio"] == pytest.approx(8.426, abs=5e-4)  # the head rounds 1280 * 1.331
    assert (third["latency_ms"], third["latency_ratio"]) == (None, None)
    assert {"phi", "macs", "params", "peak_memory_bytes", "id"} <= third.keys()


def test_latencies_come_by_the_networks_id():
    members = family(SMALL, COMPOUND, 1)
    rows = family_table(
        members, {network_id(m.arch): ms for m, ms in zip(members, (2, 5), strict=True)}
    )
    assert [row["latency_ms"] for row in rows] == [2, 5]
    assert rows[1]["latency_ratio"] == 2.5


@pytest.mark.parametrize(("name", "number"), [("b3", 4), ("l2", 10), ("lite2", 3)])
def test_published_rows_up_to_a_name(name, number):
    rows = published_family(B0, name)
    assert len(rows) == number
    assert rows[-1].name == name
    assert rows[-1].arch.resolution == TABLES[name][2]
    assert rows[0].phi == 0


def test_published_names_are_known():
    with pytest.raises(UserError, match="unknown name 'b9'"):
        published_family(B0, "b9")


@settings(max_examples=25)
@given(st.floats(0.3, 60))
def test_a_budget_is_met_by_the_largest_phi(times):
    budget = times * cost(B0).macs
    found = largest_phi_within(B0, COMPOUND, budget, macs, "macs")
    assert found.price == cost(found.member.arch).macs <= budget < found.next_price
    assert found.next_phi == pytest.approx(found.member.phi + 0.001)
    after = COMPOUND.member(B0, found.next_phi).arch
    assert cost(after).macs == found.next_price
    assert 0 <= found.slack < 0.5
    assert found.to_json()["phi"] == found.member.phi


def test_rounding_makes_a_staircase_and_its_edge_is_found():
    """Width alone, on channels of 16 and 40: no network lies between 1.9 M and 2.1 M, say."""
    rule = Rule("width", lambda phi: Factors(width=2.0**phi))
    first = largest_phi_within(SMALL, rule, macs(SMALL), macs, "macs")
    assert first.price == macs(SMALL)
    assert first.next_price > macs(SMALL)
    same = largest_phi_within(SMALL, rule, first.next_price - 1, macs, "macs")
    assert (same.member.arch, same.next_phi) == (first.member.arch, first.next_phi)


def test_each_price_is_asked_for_rarely():
    asked = []

    def price(arch: Arch) -> float:
        asked.append(arch)
        return macs(arch)

    largest_phi_within(SMALL, COMPOUND, 5 * macs(SMALL), price, "macs")
    assert len(asked) < 25


@pytest.mark.parametrize(
    ("rule", "budget", "message"),
    [
        (COMPOUND, 1, "budget is out of reach: the smallest network that rule=formula"),
        (COMPOUND, 1e30, "budget is out of reach: the largest network that rule=formula"),
        (Rule("dwr", lambda phi: dwr(2.0**phi)), 1e30, "the largest network that rule=dwr"),
        (Rule("still", lambda phi: Factors()), 1, "the smallest network that rule=still"),
        (Rule("still", lambda phi: Factors()), 1e30, "the largest network that rule=still"),
    ],
)
def test_a_budget_out_of_reach_says_what_is_within(rule, budget, message):
    with pytest.raises(UserError, match=message):
        largest_phi_within(B0, rule, budget, macs, "budget")


def test_a_resolution_that_cannot_shrink_is_named():
    with pytest.raises(UserError, match="phi=-20 with rule=formula is not possible: resolution 14"):
        COMPOUND.member(B0, -20)
    with pytest.raises(UserError, match="phi=30 with rule=formula is not possible: resolution"):
        COMPOUND.member(B0, 30)
