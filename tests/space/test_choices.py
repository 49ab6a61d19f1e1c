"""A space is an arch with holes: fill, find again, and what is refused."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import SPACES

from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import network_id
from nas.arch.scaling import for_resolution
from nas.core.errors import UserError
from nas.space.choices import choices, fill, one_of, picks_of, random_picks, size
from search_spaces.lookup import PUBLISHED
from search_spaces.mbconv import mbconv
from search_spaces.mobilenet_v3 import mobilenet_v3
from search_spaces.mobilenet_v4 import mobilenet_v4
from search_spaces.nas_bench_macro import nas_bench_macro

SMALL = Arch(
    (
        Stage(16, one_of(1, 2), 1, (Block(kernel=one_of(3, 5)), Block(kernel=one_of(3, 5)))),
        Stage(one_of(24, 32), blocks=Block(act=one_of("relu", "hswish", name="act"))),
    ),
    Stem(act=one_of("relu", "hswish", name="act")),
    resolution=32,
)


def test_choices_are_named_by_path_or_by_name():
    assert choices(SMALL) == {
        "stages.0.depth": (1, 2),
        "stages.0.blocks.0.kernel": (3, 5),
        "stages.0.blocks.1.kernel": (3, 5),
        "stages.1.width": (24, 32),
        "act": ("relu", "hswish"),
    }
    assert size(SMALL) == 32


def test_holes_of_one_name_are_one_choice():
    arch = fill(SMALL, {**{k: v[0] for k, v in choices(SMALL).items()}, "act": "hswish"})
    assert arch.stem.act == arch.stages[1].slots()[0].act == "hswish"
    with pytest.raises(UserError, match="must have the same labels"):
        choices(Arch((Stage(one_of(8, 16, name="w")), Stage(one_of(8, 24, name="w")))))


def test_named_holes_tie_different_values_together():
    space = Arch((Stage(one_of({"small": 8, "large": 16}, name="w")),
                  Stage(one_of({"small": 24, "large": 40}, name="w"))))  # fmt: skip
    assert [s.width for s in fill(space, {"w": "large"}).stages] == [16, 40]
    assert picks_of(space, fill(space, {"w": "small"})) == {"w": "small"}


def test_genes_without_effect_fold_into_one_network():
    rng = random.Random(0)
    seen = {network_id(fill(SMALL, random_picks(SMALL, rng))) for _ in range(400)}
    # depth 1 ignores the second kernel: 2 * (2 + 4) * 2 of the 32 genomes are distinct
    assert len(seen) == 24


@pytest.mark.parametrize(("picks", "message"), [
    ({"stages.0.dept": 1}, "did you mean stages.0.depth"),
    ({}, "the choice stages.0.depth is missing"),
    ({**{k: v[0] for k, v in choices(SMALL).items()}, "act": "gelu"},
     r"act cannot be 'gelu' \(allowed: relu, hswish\)"),
])  # fmt: skip
def test_wrong_picks_are_named(picks, message):
    with pytest.raises(UserError, match=message):
        fill(SMALL, picks)


def test_one_of():
    assert one_of(3) == 3
    assert one_of(3, 3, 5).labels == (3, 5)
    with pytest.raises(UserError, match="at least one option"):
        one_of()


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_fill_and_picks_of_are_inverse(name, seed):
    space = SPACES[name]
    arch = fill(space, random_picks(space, random.Random(seed)))
    again = fill(space, picks_of(space, arch))
    assert network_id(again) == network_id(arch)


MEMBERS = [
    (mbconv(), ["mobilenet_v2", "mnasnet_a1", "mnasnet_b1", "efficientnet_b0",
                "efficientnet_lite0"]),
    (mbconv(width=0.5), ["mobilenet_v2_0.5", "mnasnet_a1_0.5", "mnasnet_b1_0.5",
                         "efficientnet_b0_0.5"]),
    (mbconv(width=0.35), ["mobilenet_v2_0.35"]),
    (mobilenet_v3(), ["mobilenet_v3_large", "mobilenet_v3_large_minimal"]),
    (mobilenet_v3(base="small"), ["mobilenet_v3_small", "mobilenet_v3_small_minimal"]),
    (nas_bench_macro(), ["nas_bench_macro_22212220", "nas_bench_macro_00000000"]),
]  # fmt: skip


@pytest.mark.parametrize(("space", "name"), [(s, n) for s, names in MEMBERS for n in names])
@pytest.mark.parametrize("side", [None, 28])
def test_published_networks_are_members(space, name, side):
    arch = PUBLISHED[name]
    if side:
        space, arch = for_resolution(space, side), for_resolution(arch, side)
    found = fill(space, picks_of(space, arch))
    same = {"bn_eps": arch.bn_eps, "bn_momentum": arch.bn_momentum, "drop_path": arch.drop_path}
    assert [s.width for s in found.stages] == [s.width for s in arch.stages]
    plain = {f: getattr(found, f) for f in ("stages", "stem", "head", "resolution")}
    assert network_id(Arch(**plain, **same, classes=arch.classes, channels=arch.channels)) in {
        network_id(arch), network_id(Arch(arch.stages, arch.stem, found.head, arch.resolution,
                                          arch.channels, arch.classes, **same)),
    }  # fmt: skip


def changed(index: int, stage: Stage) -> Arch:
    """MobileNetV2 with another stage at `index`."""
    arch = PUBLISHED["mobilenet_v2"]
    stages = (*arch.stages[:index], stage, *arch.stages[index + 1 :])
    return replace(arch, stages=stages)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (PUBLISHED["mobilenet_v3_large"], "stages has 6 entries where the space has 7"),
        (
            changed(3, Stage(320, 4, 2, Block(act="relu6"))),
            r"stages\.3\.width cannot be 320 \(allowed: 40, 64, 72, 80",
        ),
        (
            changed(1, Stage(24, 2, 2, (Block(act="relu6"), Block(kernel=5, act="relu6")))),
            "kernel cannot be both",
        ),
    ],
)
def test_what_a_space_cannot_say_is_named(arch, message):
    with pytest.raises(ValueError, match=message):
        picks_of(mbconv(), arch)


def test_a_space_at_other_sizes_keeps_its_choices():
    small = for_resolution(mbconv(), 28)
    assert choices(small) == choices(mbconv())
    strides = [small.stem.stride, *(s.stride for s in small.stages)]
    assert strides == [2, 1, 2, 2, 1, 1, 1, 1]
    for name in ("mobilenet_v1_1.0_128", "mobilenet_v2_1.0_96"):
        assert for_resolution(PUBLISHED[name], PUBLISHED[name].resolution) == PUBLISHED[name]


@pytest.mark.parametrize("make", [mbconv, mobilenet_v3])
def test_ranges_are_open(make):
    space = make(kernels=[3], se=[0.25], acts=["swish"], widths=[1.0])
    assert not any("kernel" in c or "act" in c or c.endswith(".se") for c in choices(space))
    with pytest.raises(UserError, match="unknown base"):
        mobilenet_v3(base="medium")


RANGES = {
    mbconv: ("kernels", "expands", "se", "acts", "depths", "widths", "heads"),
    mobilenet_v3: ("kernels", "expands", "se", "acts", "depths", "widths"),
    mobilenet_v4: ("first_kernels", "kernels", "expands", "depths", "widths"),
}


@pytest.mark.parametrize(("make", "name"), [(s, n) for s, names in RANGES.items() for n in names])
def test_an_empty_range_is_named(make, name):
    with pytest.raises(
        UserError, match=rf"space\.{name} must hold one value at least, not an empty"
    ):
        make(**{name: []})


@pytest.mark.parametrize(
    ("make", "ranges", "message"),
    [
        (mbconv, {"kernels": [3, 4]}, "space.kernels must be odd, not 4"),
        (mbconv, {"kernels": [33]}, r"space.kernels .* from 1 to 31, not \[33\]"),
        (mobilenet_v4, {"kernels": [2]}, "space.kernels must be odd, not 2"),
        (mobilenet_v3, {"depths": [2, 5, 9]}, r"space.depths .* from 0 to 4, not \[2, 5, 9\]"),
        (mobilenet_v3, {"depths": [5]}, r"space.depths .* from 0 to 4, not \[5\]"),
        (mobilenet_v4, {"depths": [12]}, r"space.depths .* from 1 to 11, not \[12\]"),
        (mobilenet_v4, {"depths": [9, 11]}, "space.depths must hold one from 1 to 8"),
        (mbconv, {"depths": [2000]}, r"space.depths .* from 0 to 1000, not \[2000\]"),
    ],
)
def test_what_a_range_cannot_hold_is_named(make, ranges, message):
    with pytest.raises(UserError, match=message):
        make(**ranges)


def network(*blocks: Block, depth: int | None = None) -> Arch:
    return Arch((Stage(16, depth or len(blocks), blocks=blocks),), resolution=32)


WIDTHS = ({"s": 8, "m": 8, "l": 16}, {"s": 8, "m": 16, "l": 24})


@pytest.mark.parametrize("order", [WIDTHS, WIDTHS[::-1]])
@pytest.mark.parametrize("label", ["s", "m", "l"])
def test_options_that_repeat_under_one_name_leave_every_label_that_fits_all(order, label):
    space = Arch(tuple(Stage(one_of(widths, name="w")) for widths in order))
    assert picks_of(space, fill(space, {"w": label})) == {"w": label}


def test_what_a_kind_does_not_read_is_not_compared():
    gone = Block("identity", act="relu")
    free = Block(one_of("identity", "mbconv"), kernel=one_of(3, 5), act="hswish", se=0.25)
    for space in (network(one_of({"0": gone, "1": Block()}), Block()), network(free, Block())):
        for own in (gone, Block("identity", kernel=7, act="swish", se=0.5)):
            arch = network(own, Block())
            assert network_id(fill(space, picks_of(space, arch))) == network_id(arch)
    # where a choice without effect can have the network's value, it has that
    picks = picks_of(network(free), network(Block("identity", kernel=5)))
    assert picks["stages.0.blocks.0.kernel"] == 5


def test_blocks_that_are_chosen_as_a_whole_are_found():
    pair = (Block(), Block(kernel=5))
    space = Arch((Stage(16, 2, blocks=one_of({"one": Block(), "pair": pair})),), resolution=32)
    for label in ("one", "pair"):
        picks = {"stages.0.blocks": label}
        assert picks_of(space, fill(space, picks)) == picks
