"""Layers of blocks, the rounding rules, and the id that folds equal networks together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import needs_shared, reference

from nas.arch.arch import Arch, Head, Stage, Stem, strides
from nas.arch.blocks import BLOCKS, Block
from nas.arch.cost import cost
from nas.arch.layers import Conv, SqueezeExcite, round_channels
from nas.arch.operators import network_id, operators
from nas.core.errors import UserError
from search_spaces.lookup import PUBLISHED


@needs_shared
def test_channels_round_as_in_four_libraries():
    table = reference("rules")["measured"]["round_filters"]["rows"]
    assert len(table) > 20
    for multiplier, pairs in table:
        for channels, rounded in pairs:
            assert round_channels(channels * multiplier) == rounded, (channels, multiplier)


@needs_shared
@pytest.mark.parametrize(
    ("name", "source", "file"),
    [
        ("mobilenet_v3_large", "torchvision:mobilenet_v3_large", "mobilenet_v3"),
        ("mobilenet_v3_small", "torchvision:mobilenet_v3_small", "mobilenet_v3"),
        ("mnasnet_a1", "timm:semnasnet_100", "mnasnet"),
        ("efficientnet_b0", "torchvision:efficientnet_b0", "efficientnet"),
        ("mobilenet_v1", "timm:mobilenetv1_100", "mobilenet_v1"),
    ],
)
def test_every_block_equals_the_reference_row(name, source, file):
    """Kernel, stride, channels, squeeze channels, residual, drop rate and size, block by block."""
    rows = [r for r in operators(PUBLISHED[name]) if r.place.startswith("stage")]
    want = reference(file)["models"][source]["blocks"]
    assert len(rows) == len(want)
    for row, (_, k, s, cin, hidden, cout, se, act, skip, drop, side, *_) in zip(
        rows, want, strict=True
    ):
        depthwise = next(x for x in row.layers if isinstance(x, Conv) and x.role == "depthwise")
        squeeze = [x.squeeze for x in row.layers if isinstance(x, SqueezeExcite)]
        got = (depthwise.kernel, depthwise.stride, row.cin, depthwise.cout, row.cout,
               squeeze or [0], depthwise.act, row.residual, row.side_out)  # fmt: skip
        assert got == (k, s, cin, hidden, cout, [se], act, skip, side)
        if skip:
            assert row.drop_path == pytest.approx(drop)


def test_sizes_divide_upwards():
    sides = [r.side for r in operators(replace(PUBLISHED["mobilenet_v2"], resolution=225))]
    assert sides[:3] == [225, 113, 113]


def test_an_input_too_small_for_the_strides_is_refused():
    with pytest.raises(
        UserError,
        match=r"resolution 16 is too small for strides of 32 in all: "
        r"allowed is 17 or more",
    ):
        operators(replace(PUBLISHED["mobilenet_v2"], resolution=16))
    assert operators(replace(PUBLISHED["mobilenet_v2"], resolution=17))[-1].side == 1


ONE = Block(kernel=3, expand=3)
GONE = Block(op="identity")


def of(*blocks: Block, depth: int | None = None) -> Arch:
    stage = Stage(16, len(blocks) if depth is None else depth, 2, blocks)
    return Arch((stage,), Stem(16), resolution=32)


def test_rows_are_remembered_for_a_bounded_number_of_networks():
    assert operators(of(ONE)) is operators(replace(of(ONE), name="mine"))
    assert operators.cache_info().maxsize < 10_000
    assert network_id.cache_info().maxsize < 10_000


def test_what_has_no_effect_has_none_on_the_id():
    assert network_id(of(ONE, GONE, ONE)) == network_id(of(ONE, ONE, GONE))
    assert network_id(of(ONE, ONE)) == network_id(of(ONE, ONE, replace(ONE, kernel=7), depth=2))
    assert network_id(of(ONE)) == network_id(replace(of(ONE), name="mine"))
    # ratios that round to the same widths
    a, b = replace(ONE, se=0.25), replace(ONE, se=0.26)
    assert network_id(of(a)) == network_id(of(b))


def test_whole_fractions_change_no_id():
    """YAML reads 0 and 0.0, 6 and 6.0 as different types; they are the same network."""
    whole = replace(of(replace(ONE, se=1)), head=Head(dropout=0), bn_momentum=1, bn_eps=1)
    floats = replace(of(replace(ONE, se=1.0, expand=3.0)), head=Head(dropout=0.0))
    assert network_id(whole) == network_id(replace(floats, bn_momentum=1.0, bn_eps=1.0))


def test_what_has_an_effect_changes_the_id():
    base = of(ONE, ONE)
    others = [
        of(ONE, replace(ONE, kernel=5)), of(ONE, replace(ONE, act="hswish")), of(ONE),
        of(ONE, replace(ONE, skip=False)), of(GONE, ONE, ONE), replace(base, padding="same"),
        replace(base, bn_eps=1e-3), replace(base, classes=10), replace(base, head=Head(640)),
    ]  # fmt: skip
    assert len({network_id(a) for a in [base, *others]}) == 1 + len(others)


@pytest.mark.parametrize("expand", [1, 3])
@pytest.mark.parametrize("op", [op for op, kind in BLOCKS.items() if kind.convolves])
def test_squeeze_and_excitation_has_an_effect_in_every_block_that_convolves(op, expand):
    plain = of(Block(op, expand=expand))
    excited = of(Block(op, expand=expand, se=0.25))
    assert network_id(excited) != network_id(plain)
    assert cost(excited).macs > cost(plain).macs


def test_fused_blocks_without_expansion_are_one_convolution():
    arch = of(Block(op="fused", expand=1))
    roles = [x.role for x in operators(arch)[1].layers if isinstance(x, Conv)]
    assert roles == ["conv"]


def test_a_skipped_stage_leaves_its_stride_to_the_next():
    skipped = Arch((Stage(8, 0, 2), Stage(16, 2), Stage(24, 1, 2)), Stem(8), resolution=32)
    assert strides(skipped) == [1, 2, 2]
    assert [r.side_out for r in operators(skipped)][:4] == [16, 8, 8, 4]
    both = Arch((Stage(8, 0, 2), Stage(8, 0, 2), Stage(16), Stage(16)), Stem(8), resolution=32)
    assert strides(both) == [1, 1, 2, 2]
