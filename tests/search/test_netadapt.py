"""NetAdapt's proposals: what they cut, where they end, which one is kept."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from spaces import SPACES

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.layers import Conv
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.inheritance.surgery import hidden_channels
from nas.search.netadapt import (
    CHANNELS,
    FASTER,
    NetAdapt,
    Proposal,
    Scored,
    best,
    bottlenecks,
    check_refinable,
    fits,
    is_expanded,
    proposals,
    reductions,
    uniform_width,
    widths_of,
    with_widths,
)
from nas.space.choices import fill, random_picks
from nas.space.trellis.trellis import Trellis

CUT = 0.03
NAMES = ("mbconv_28", "mobilenet_v3_small_32", "mobilenet_v4_28")


def price(arch):
    return cost(arch).macs * 1e-6 + 0.02 * len(operators(arch))


def networks(name, number):
    rng = random.Random(name)
    return [fill(SPACES[name], random_picks(SPACES[name], rng)) for _ in range(number)]


@pytest.mark.parametrize("name", NAMES)
def test_a_proposal_is_the_largest_of_its_kind_that_cuts_enough(name):
    for arch in networks(name, 3):
        ms = price(arch)
        found = proposals(arch, price, CUT * ms, target_ms=0)
        assert found
        assert all(p.ms == price(p.arch) <= (1 - CUT) * ms for p in found)
        ladders = [[new for _, new in smaller] for _, smaller in reductions(arch)]
        for p in found:
            (ladder,) = [ladder for ladder in ladders if p.arch in ladder]
            larger = ladder[: ladder.index(p.arch)]
            assert all(price(new) > (1 - CUT) * ms for new in larger)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_sizes_are_a_channel_step_and_never_below_what_is_expanded(name):
    for arch in networks(name, 3):
        for what, smaller in reductions(arch):
            for channels, new in smaller:
                assert channels >= CHANNELS
                assert channels % CHANNELS == 0
                assert fits(new, arch)
                before, after = operators(arch), operators(new)
                inside = [(a, b) for a, b in zip(before, after, strict=True) if is_expanded(a)]
                changed = [b for a, b in inside if hidden_channels(a) != hidden_channels(b)]
                if "expansion" in what:
                    assert widths_of(new) == widths_of(arch)
                    assert [hidden_channels(row) for row in changed] == [channels]
                    assert channels > changed[0].cin
                else:
                    assert not changed  # expansions keep their channels


def test_a_bottleneck_that_residuals_join_shrinks_as_a_whole():
    block = Block(expand=4)
    stages = (Stage(16, 2, 1, block), Stage(24, 1, 2, block), Stage(24, 2, 1, block))
    arch = Arch((*stages, Stage(24, 0, 1, block), Stage(32, 1, 1, block)), Stem(16), Head(64))
    assert bottlenecks(arch) == [[0, 1], [2, 3], [5]]
    # stages of equal width would be joined anew
    assert not fits(with_widths(arch, [16, 16, 24, 24, 24, 24]), arch)
    sizes = {what: [size for size, _ in smaller] for what, smaller in reductions(arch)}
    assert sizes["stem+stage1 width 16 to"] == [8]
    assert sizes["stage5 width 32 to"] == [16, 8]


@pytest.mark.parametrize("name", NAMES)
def test_any_choice_ends_within_the_target_by_two_percent(name):
    rng = random.Random(0)
    for arch in networks(name, 4):
        start = price(arch)
        target = start / rng.uniform(1.05, 1.2)
        hand, number = Proposal(arch, start, ""), 0
        while hand.ms > target:
            found = proposals(hand.arch, price, CUT * start, target)
            for p in found:
                enough = p.ms <= max(hand.ms - CUT * start, target)
                assert enough or all(o.ms > max(hand.ms - CUT * start, target) for o in found)
            hand, number = rng.choice(found), number + 1
            assert number < 30
        assert (1 - FASTER) * target <= hand.ms <= target


def test_where_every_step_is_too_large_the_nearest_to_the_target_is_alone():
    arch = Arch((Stage(8, 1, 1, Block(expand=2)), Stage(16, 1, 2, Block(expand=1))), Stem(8))

    def coarse(network):
        return 10.0 * sum(
            x.cout for row in operators(network) for x in row.layers if isinstance(x, Conv)
        )

    found = proposals(arch, coarse, 0.03 * coarse(arch), coarse(arch) - 1)
    (one,) = found
    assert one.what == "stage2 width 16 to 8"


def test_nothing_is_left_of_the_smallest_network():
    arch = Arch((Stage(8, 1, 2, Block(expand=1)),), Stem(8))
    assert proposals(arch, price, 0.0, 0.0) == []


def test_the_proposal_that_loses_least_for_a_millisecond_is_kept():
    arch = Arch((Stage(8),))
    hand = Scored(Proposal(arch, 1.0, ""), 0.50)
    found = [
        Scored(Proposal(arch, ms, what), loss)
        for what, ms, loss in [("slight", 0.98, 0.51), ("planted", 0.80, 0.58), ("deep", 0.5, 0.9)]
    ]
    assert best(hand, found).proposal.what == "planted"
    found[0] = found[0]._replace(cross_entropy=0.507)
    assert best(hand, found).proposal.what == "slight"
    assert best(hand, [found[0]._replace(cross_entropy=float("inf")), found[2]]) is found[2]


def test_uniform_width_is_the_slowest_within_the_target():
    arch = fill(SPACES["mbconv"], random_picks(SPACES["mbconv"], random.Random(0)))
    target = 0.8 * price(arch)
    multiplier, network = uniform_width(arch, price, target)
    assert 0.5 < multiplier < 1
    assert 0.7 * price(arch) < price(network) <= target
    assert [s.depth for s in network.stages] == [s.depth for s in arch.stages]
    assert uniform_width(arch, price, 0.01) is None


def problem_of(max_ms=1.2, space=SPACES["nas_bench_macro"], row_ms=None):
    source = SimpleNamespace(measure_many=row_ms or (lambda archs: [SimpleNamespace(median_ms=1)]))
    latency = SimpleNamespace(source=source, trellis=Trellis(space))
    return SimpleNamespace(max_ms=max_ms, target_ms=1.0, space=space, latency=latency)


def test_what_can_have_nothing_to_shrink_is_refused_before_anything_is_trained():
    check_refinable(problem_of(), NetAdapt())
    with pytest.raises(UserError, match=r"up to 1.2 ms, .* give limit.latency_ms=1.2 too"):
        check_refinable(problem_of(max_ms=1.0), NetAdapt())
    with pytest.raises(UserError, match=r"refine.start=2 is for networks of up to 2 ms, and none"):
        check_refinable(problem_of(), NetAdapt(start=2.0))
    shuffles = Arch((Stage(16, 1, 2, Block("shuffle")),), Stem(16))
    with pytest.raises(UserError, match="no shuffle blocks"):
        check_refinable(problem_of(space=shuffles), NetAdapt())

    def lacking(archs):
        raise UserError("no line for the block")

    with pytest.raises(UserError, match="no line"):
        check_refinable(problem_of(row_ms=lacking), NetAdapt())


@pytest.mark.parametrize(
    ("name", "value"), [("start", 1.0), ("step", 0.0), ("step", 1.0), ("batches", 0)]
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(UserError, match=f"refine.{name} must be"):
        replace(NetAdapt(), **{name: value})
