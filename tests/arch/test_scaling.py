"""Scaling with the official rounding, against the reference's scaled networks."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import pytest
from conftest import SHARED, needs_shared, reference
from hypothesis import given
from hypothesis import strategies as st

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.cost import cost
from nas.arch.operators import operators
from nas.arch.scaling import (
    EFFICIENTNET,
    EFFICIENTNET_LITES,
    EFFICIENTNETS,
    RULES,
    TABLES,
    Factors,
    apply,
    as_published,
    dwr,
    for_resolution,
    formula,
    published,
    scaled,
    single_axis,
    uniform,
)
from nas.core.errors import UserError
from search_spaces.lookup import PUBLISHED

B0, LITE0 = PUBLISHED["efficientnet_b0"], PUBLISHED["efficientnet_lite0"]


def as_torchvision(arch: Arch) -> Arch:
    """torchvision, which scaled the reference's rows, makes the head four times the last stage;
    the official code rounds 1280 * width, which differs at widths outside its table."""
    return replace(arch, head=replace(arch.head, width=4 * arch.stages[-1].width))


@needs_shared
def test_b0_scaled_by_phi_costs_what_the_reference_says():
    rows = reference("scaling")["by_phi"]
    assert len(rows) >= 8
    for row in rows:
        arch = as_torchvision(scaled(B0, depth=row["depth"], width=row["width"]))
        arch = replace(arch, resolution=row["res_used"])
        ours = cost(arch)
        assert (ours.macs, ours.params) == (row["macs"], row["params"]), row["phi"]


@needs_shared
def test_b0_scaled_in_one_dimension():
    for row in reference("scaling")["single_dim"]:
        arch = as_torchvision(scaled(B0, depth=row["depth"], width=row["width"]))
        arch = replace(arch, resolution=row["res"])
        assert (cost(arch).macs, cost(arch).params) == (row["macs"], row["params"]), row["what"]


@needs_shared
def test_the_table_of_all_official_sizes():
    for row in reference("scaling")["official"]:
        ours = cost(PUBLISHED[f"efficientnet_{row['name']}"])
        assert (ours.macs, ours.params) == (row["macs"], row["params"])


def test_lite3_widens_its_first_stage_to_24_and_keeps_its_ends():
    lite = PUBLISHED["efficientnet_lite3"]
    assert (lite.stages[0].width, lite.stages[0].depth, lite.stages[-1].depth) == (24, 1, 1)
    assert (lite.stem.width, lite.head.width) == (32, 1280)


def test_depth_is_not_rounded_up_by_a_float():
    deep = scaled(scaled(B0, depth=25), depth=2.2)
    assert deep.stages[0].depth == 55


@pytest.mark.parametrize("side", [8, 28, 32, 64, 96])
def test_every_network_fits_every_side(side):
    for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"):
        assert cost(for_resolution(PUBLISHED[name], side)).macs > 0
    with pytest.raises(UserError):
        cost(for_resolution(PUBLISHED["mobilenet_v2"], 0))


@needs_shared
def test_the_tables_are_the_released_ones():
    rules = reference("rules")
    assert {k: list(v) for k, v in EFFICIENTNETS.items()} == rules[
        "efficientnet_table_[width,depth,res,dropout]"
    ]
    assert {k: list(v) for k, v in EFFICIENTNET_LITES.items()} == rules[
        "lite_table_[width,depth,res,dropout]"
    ]


@pytest.mark.parametrize("name", TABLES)
def test_every_published_network_is_reached_by_the_rule_layer_by_layer(name):
    """eps and momentum of the norms apart, which torchvision changes from B5 on."""
    reached = as_published(LITE0 if name in EFFICIENTNET_LITES else B0, name)
    wanted = PUBLISHED[f"efficientnet_{name}"]
    assert operators(reached) == operators(wanted)
    assert (reached.resolution, reached.padding) == (wanted.resolution, wanted.padding)
    assert reached.resolution == TABLES[name][2]


def test_an_unknown_row_is_named():
    with pytest.raises(UserError, match=r"unknown published scaling 'b9' .*allowed: b0, b1"):
        published("b9")


@needs_shared
def test_the_formula_meets_the_reference_phi_by_phi():
    found = reference("scaling")
    alpha, beta, gamma = EFFICIENTNET
    assert list(EFFICIENTNET) == found["alpha_beta_gamma"]
    assert alpha * beta**2 * gamma**2 == pytest.approx(found["alpha*beta^2*gamma^2"], abs=1e-12)
    base = cost(B0).macs
    for row in found["by_phi"]:
        factors = formula(*EFFICIENTNET, row["phi"])
        assert factors.depth == pytest.approx(row["depth"], abs=1e-6)
        assert factors.width == pytest.approx(row["width"], abs=1e-6)
        assert factors.cost == pytest.approx(row["abg_pow_phi"], rel=1e-4)
        arch = as_torchvision(apply(B0, factors))
        assert arch.resolution == row["res_used"]
        assert [s.depth for s in arch.stages] == row["repeats"]
        assert [arch.stem.width, *(s.width for s in arch.stages)] == row["channels"]
        assert (cost(arch).macs, cost(arch).params) == (row["macs"], row["params"])
        assert cost(arch).macs / base == pytest.approx(row["mac_ratio"], abs=5e-5)


def test_what_phi_really_costs():
    """alpha beta^2 gamma^2 is 1.9203, and rounding makes 2.573, 4.691 and 8.425 of its powers."""
    assert formula(*EFFICIENTNET, 1).cost == pytest.approx(1.9203, abs=5e-5)
    for phi, ratio in ((1, 2.573), (2, 4.691), (3, 8.425)):
        arch = as_torchvision(apply(B0, formula(*EFFICIENTNET, phi)))
        assert cost(arch).macs / cost(B0).macs == pytest.approx(ratio, abs=5e-4)


@needs_shared
def test_one_dimension_by_the_rules():
    for row in reference("scaling")["single_dim"]:
        arch = as_torchvision(apply(B0, Factors(row["depth"], row["width"], row["res"] / 224)))
        assert (cost(arch).macs, cost(arch).params) == (row["macs"], row["params"]), row["what"]


@needs_shared
def test_repeats_to_the_nearest_count_as_many_blocks_as_the_reference():
    table = reference("scaling/b0_phi_real_macs")
    column = table["cols"].index("blocks_round")
    for row in table["rows"]:
        arch = apply(B0, formula(*EFFICIENTNET, row[0]), repeats="nearest")
        assert sum(s.depth for s in arch.stages) == row[column], row[0]


@needs_shared
def test_b0_to_b7_cost_what_timm_measures():
    """timm prints GMACs with biases, norms and pools left out but for rounding to 10 M."""
    with (SHARED / "data" / "timm_mobile_imagenet.csv").open(encoding="utf-8") as file:
        rows = {(r["arch"], int(r["img_size"])): r for r in csv.DictReader(file)}
    for name in ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"):
        row = rows[(f"tf_efficientnet_{name}", TABLES[name][2])]
        ours = cost(as_published(B0, name))
        assert ours.params / 1e6 == pytest.approx(float(row["params_M"]), abs=0.006)
        assert ours.macs / 1e9 == pytest.approx(float(row["gmacs"]), rel=0.04)


COSTS = st.floats(0.25, 64)


@given(COSTS)
def test_rules_without_coefficients_cost_what_was_asked(times):
    for name, rule in RULES.items():
        assert rule(times).cost == pytest.approx(times), name


def test_the_exponents_of_dwr_and_uniform():
    """Dollar et al. 2021: at share 0.8 depth s^0.1, width s^0.4, resolution s^0.05."""
    found = dwr(2)
    assert (found.depth, found.width, found.resolution) == pytest.approx((2**0.1, 2**0.4, 2**0.05))
    even = uniform(8)
    assert (even.depth, even.width**2, even.resolution**2) == pytest.approx((2, 2, 2))


def test_single_axes():
    for axis, factor in (("depth", 4), ("width", 2), ("resolution", 2)):
        found = single_axis(axis, 4)
        assert getattr(found, axis) == pytest.approx(factor)
        assert sorted((found.depth, found.width, found.resolution))[:2] == [1, 1]
    with pytest.raises(UserError, match="unknown dimension 'height'"):
        single_axis("height", 2)


@given(st.floats(1, 2), st.floats(1, 2), st.floats(1, 2), st.floats(-3, 3), st.floats(-3, 3))
def test_phi_adds_up(alpha, beta, gamma, one, other):
    first, second = (formula(alpha, beta, gamma, phi) for phi in (one, other))
    both = formula(alpha, beta, gamma, one + other)
    assert both.cost == pytest.approx(first.cost * second.cost)


@given(st.floats(0, 4), st.floats(0, 4))
def test_more_phi_never_costs_less(one, other):
    low, high = sorted((one, other))
    costs = [cost(apply(B0, formula(*EFFICIENTNET, phi))) for phi in (low, high)]
    assert costs[0].macs <= costs[1].macs
    assert costs[0].params <= costs[1].params


def test_factors_of_one_change_nothing_even_widths_that_are_no_multiples_of_8():
    odd = Arch((Stage(20, 2), Stage(30)), Stem(10), Head(50), resolution=33)
    assert apply(odd, Factors()) == odd
    assert [s.width for s in apply(odd, Factors(depth=2)).stages] == [20, 30]
    assert [s.width for s in apply(odd, Factors(width=1.1)).stages] == [24, 32]


def test_frozen_ends():
    lite = apply(LITE0, Factors(2, 2, 1), fixed_ends=True)
    assert (lite.stem, lite.head.width) == (LITE0.stem, LITE0.head.width)
    assert [s.depth for s in lite.stages] == [1, 4, 4, 6, 6, 8, 1]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: formula(0, 1, 1, 1), "alpha must be a number above 0"),
        (lambda: formula(1.2, math.inf, 1, 1), "beta must be a number above 0"),
        (lambda: formula(2, 1, 1, 99), "the factor of depth is"),
        (lambda: formula(2, 1, 1, 1e6), "the factor of depth is"),
        (lambda: formula(2, 1, 1, -99), "the factor of depth is"),
        (lambda: apply(B0, Factors(), repeats="floor"), "unknown rounding of repeats 'floor'"),
        (lambda: apply(B0, Factors(resolution=100)), "resolution must be"),
    ],
)
def test_what_cannot_be_is_refused(act, message):
    with pytest.raises(UserError, match=message):
        act()
