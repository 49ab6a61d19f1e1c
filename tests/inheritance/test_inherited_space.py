"""The space of what a network can shrink to."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from made_networks import NETWORKS, last_layer, space_of

from nas.arch.arch import Arch, Stage
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.layers import layer_role
from nas.arch.operators import network_id, operators
from nas.arch.serialization import dumps
from nas.core.config import Component
from nas.core.errors import UserError
from nas.inheritance.surgery import hidden_channels, spatial
from nas.network.modules import build
from nas.space.choices import choices, fill, picks_of, random_picks
from nas.space.trellis.trellis import Trellis
from search_spaces.inherited import (
    LEFT_OUT,
    MULTIPLE,
    at_resolution,
    inherited,
    place_of,
    replacement_rows,
    sides_of,
    whole_network,
)
from search_spaces.lookup import PUBLISHED

PARTS, KERNELS = (0.75, 0.5, 0.375, 0.25, 0.1667, 0.1), (3, 5)
NAMES = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v2_1.4",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mnasnet_a1",
    "mnasnet_b1",
    *(f"{tf}efficientnet_{row}" for tf in ("", "tf_") for row in ("b0", "b1", "b2")),
    *(f"{tf}efficientnet_lite{i}" for tf in ("", "tf_") for i in range(3)),
    *(f"tf_mobilenet_v3_{base}" for base in ("large", "small", "large_minimal", "small_0.75")),
    "efficientnet_v2_b0",
    *(f"mobilenet_v4_conv_{base}" for base in ("small", "medium")),
)
every_name = pytest.mark.parametrize("name", NAMES)


def space_for(name, sides=(224,), classes=1000):
    return inherited(name, sides, PARTS, KERNELS, classes=classes)


@every_name
def test_the_first_labels_are_the_network_itself(name):
    side = PUBLISHED[name].resolution
    space = space_for(name, (side,))
    first = fill(space, {key: labels[0] for key, labels in choices(space).items()})
    # what training decides apart: stochastic depth, and how quickly norms forget
    like = replace(PUBLISHED[name], bn_momentum=0.1, drop_path=0.0)
    assert network_id(first) == network_id(like)
    assert network_id(at_resolution(space, side)) == network_id(like)
    assert network_id(whole_network(name, side, 3, 1000)) == network_id(like)
    assert sides_of(space) == (side,)
    assert picks_of(space, first) == {key: labels[0] for key, labels in choices(space).items()}


@every_name
def test_every_option_makes_a_row_in_its_place(name):
    for side in (96, 64):
        space = space_for(name, (96, 64), classes=7)
        whole = {row.place: row for row in operators(at_resolution(space, side))}
        rows = replacement_rows(space, side)
        assert set(rows) == set(choices(space)) - {"resolution"}
        moved = {place_of(key) for key in rows}
        for place, row in whole.items():
            if row.residual:
                assert place in moved
        for key, known in rows.items():
            own = whole[place_of(key)]
            assert next(iter(known.values())) == own
            assert (LEFT_OUT in known) == own.residual
            made = {label: row for label, row in known.items() if label != LEFT_OUT}
            assert None not in made.values()
            assert len({row.layers for row in made.values()}) == len(made)
            kernels = {spatial(row).kernel for row in made.values()}
            assert kernels == {
                spatial(own).kernel,
                *(k for k in KERNELS if k < spatial(own).kernel),
            }
            sizes = expected_sizes(own)
            for kernel in kernels:
                same = [row for row in made.values() if spatial(row).kernel == kernel]
                assert [hidden_channels(row) for row in same] == sizes
            for row in made.values():
                assert [layer_role(x) for x in row.layers] == [layer_role(x) for x in own.layers]
                assert (row.cin, row.cout, row.side, row.side_out, row.residual) == (
                    own.cin, own.cout, own.side, own.side_out, own.residual
                )  # fmt: skip
                assert last_layer(row).cout == own.cout


def expected_sizes(row) -> list[int]:
    """The block's hidden channels, then parts of them, where there is an expansion to cut."""
    whole = hidden_channels(row)
    if not {"expand", "fused"} & {layer_role(x) for x in row.layers}:
        return [whole]
    parts = (round(whole * part / MULTIPLE) * MULTIPLE for part in PARTS)
    known = dict.fromkeys(size for size in parts if MULTIPLE <= size < whole and size != row.cin)
    return [whole, *known]


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "tf_efficientnet_lite0", "mnasnet_a1"])
def test_a_trellis_costs_its_networks_on_both_sides(name):
    space = space_for(name, (96, 64), classes=10)
    trellis = Trellis(space)
    genomes = trellis.random(60, np.random.default_rng(0))
    found = trellis.costs(genomes)
    picks = trellis.decode(genomes)
    assert {p["resolution"] for p in picks} == {96, 64}
    for i, own in enumerate(picks):
        expected = cost(fill(space, own))
        assert found.macs[i] == expected.macs
        assert found.params[i] == expected.params
    macs = trellis.totals(trellis.row_costs.macs, genomes)
    assert np.array_equal(macs, found.macs)
    for side in (96, 64):
        for known in replacement_rows(space, side).values():
            assert all(row in trellis for row in known.values() if row)
        assert all(row in trellis for row in operators(at_resolution(space, side)))
    largest, own = trellis.extreme(trellis.row_costs.macs, most=True)
    assert largest == cost(at_resolution(space, 96)).macs
    assert network_id(fill(space, own)) == network_id(at_resolution(space, 96))


def test_sides_come_in_order_and_once():
    space = space_for("mobilenet_v2", (64, 96, 64))
    assert sides_of(space) == choices(space)["resolution"] == (96, 64)
    assert at_resolution(space, 64).resolution == 64
    one = space_for("mobilenet_v2", (64, 64))
    assert sides_of(one) == (64,)
    assert "resolution" not in choices(one)
    # strides are those of the largest side
    ids = {network_id(replace(at_resolution(space, s), resolution=96)) for s in (96, 64)}
    assert len(ids) == 1


def test_images_decide_channels_and_classes():
    space = inherited("mobilenet_v2", [64], PARTS, KERNELS, channels=1, classes=7)
    arch = at_resolution(space, 64)
    assert (arch.channels, arch.classes, arch.drop_path) == (1, 7, 0.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_a_file_answer(name, tmp_path):
    space = space_of(NETWORKS[name], tmp_path)
    rng = random.Random(0)
    for _ in range(3):
        arch = fill(space, random_picks(space, rng))
        build(arch, seed=0)
        assert arch.name == "network"


def file_of(arch: Arch, folder) -> str:
    path = folder / "odd.yaml"
    path.write_text(dumps(arch))
    return str(path)


ODD = {
    "a skipped stage": Arch(
        (Stage(8, 1, 2), Stage(8, 0, 2), Stage(16, 2, 1, Block(kernel=5))), resolution=64
    ),
    "blocks that are nothing": Arch(
        (
            Stage(16, 3, 2, (Block(), Block("identity"), Block(kernel=5))),
            Stage(16, 1, 1, Block("identity")),
        ),
        resolution=64,
    ),
    "an identity that changes the shape": Arch(
        (Stage(16, 2, 2, (Block("identity"), Block("identity"))), Stage(24, 2, 2)), resolution=64
    ),
    "every kind": Arch(
        (
            Stage(16, 2, 2, Block("conv", kernel=5)),
            Stage(24, 2, 2, Block("fused", kernel=5, expand=3)),
            Stage(24, 1, 1, Block("fused", expand=1)),
            Stage(32, 2, 2, Block("separable", kernel=5, skip=False)),
            Stage(32, 2, 1, Block(expand=0.5, se=0.25)),
            Stage(40, 2, 1, Block(expand=2.3, se=0.25, se_from="expanded")),
        ),
        resolution=64,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("parts", [PARTS, (0.01,), ()])
def test_odd_networks_are_spaces_too(name, parts, tmp_path):
    arch = replace(ODD[name], bn_momentum=0.1)
    space = inherited(file_of(arch, tmp_path), [64], parts, KERNELS)
    assert network_id(at_resolution(space, 64)) == network_id(arch)
    for known in replacement_rows(space, 64).values():
        assert len(known) > 1
    trellis = Trellis(space)
    genomes = trellis.random(20, np.random.default_rng(0))
    macs = trellis.totals(trellis.row_costs.macs, genomes)
    expected = [cost(fill(space, picks)).macs for picks in trellis.decode(genomes)]
    assert macs.tolist() == expected


def test_parts_that_no_block_can_have_are_left_out():
    space = inherited("efficientnet_b0", [64], [0.1, 0.01], KERNELS)
    for known in replacement_rows(space, 64).values():
        for row in known.values():
            assert row is None or hidden_channels(row) >= max(8, 0.1 * row.cin)


def test_what_a_search_found_can_shrink_again(tmp_path):
    space = space_for("mobilenet_v2", (64,), classes=10)
    rng = random.Random(1)
    for _ in range(3):
        arch = fill(space, random_picks(space, rng))
        assert any(b == Block("identity") for s in arch.stages for b in s.slots())
        again = inherited(file_of(arch, tmp_path), [64], PARTS, KERNELS, classes=10)
        assert network_id(at_resolution(again, 64)) == network_id(arch)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"parts": [0]}, r"space\.parts must be a list of numbers from 0\.01 to 1"),
        ({"parts": [1.5]}, r"space\.parts must be a list of numbers from 0\.01 to 1"),
        ({"parts": ["half"]}, r"space\.parts must be a list of numbers"),
        ({"parts": [True]}, r"space\.parts must be a list of numbers"),
        ({"parts": 0.5}, "parts must be a list"),
        ({"kernels": 3}, "kernels must be a list"),
        ({"kernels": [4]}, r"kernel"),
        ({"kernels": ["three"]}, r"kernel"),
        ({"kernels": [0]}, r"kernel"),
        ({"kernels": [-1]}, r"kernel"),
        ({"resolutions": []}, "resolutions must hold a side"),
        ({"resolutions": [0]}, "resolutions must be a list of whole numbers"),
        ({"resolutions": [64.5]}, "resolutions must be a list of whole numbers"),
        ({"resolutions": [64, None]}, "resolutions must be a list of whole numbers"),
        ({"resolutions": [10**6]}, "resolutions must be a list of whole numbers"),
        ({"resolutions": [1]}, "resolution 1 is too small"),
        ({"arch": "mobilenet_v9"}, "unknown network 'mobilenet_v9'"),
        ({"arch": "none.yaml"}, r"none\.yaml"),
    ],
)
def test_refusals_are_one_line(changed, words):
    arguments = {
        "arch": "mobilenet_v2", "resolutions": [64], "parts": [0.5], "kernels": [3, 5]
    }  # fmt: skip
    component = Component(
        "inherited", {"_target_": "search_spaces.inherited.inherited", **arguments, **changed}
    )
    with pytest.raises(UserError, match=words) as error:
        component.make()
    assert "\n" not in str(error.value)
