"""Scaling with the official rounding, against the reference's scaled networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import needs_shared, reference

from nas.arch import Arch
from nas.compound import for_resolution, scaled
from nas.cost import cost
from nas.errors import UserError
from search_spaces.published import PUBLISHED

B0 = PUBLISHED["efficientnet_b0"]


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
