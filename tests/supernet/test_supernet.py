"""One network for a whole space: every subnet of it is the plain network with its weights."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import SPACES
from torch import nn

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.operators import operators
from nas.arch.scaling import scaled
from nas.core.errors import UserError
from nas.network.modules import build
from nas.space.choices import choices, fill, one_of, picks_of, random_picks
from nas.space.trellis.trellis import Trellis
from nas.supernet.largest import extreme_picks, free_choices, largest_layers
from nas.supernet.sampling import FeasibleSampler
from nas.supernet.sandwich import Sandwich
from nas.supernet.supernet import Supernet, extract, recalibrate, slice_weight

# Every kind of block, of hole and of hole in a hole's place.
ODD = Arch(
    (
        Stage(one_of(8, 16), one_of(0, 1, 2), 2, Block("fused", one_of(3, 5), one_of(1, 2))),
        Stage(
            one_of(8, 24),
            one_of(1, 3),
            2,
            (
                one_of({"sep": Block("separable", 5), "none": Block("identity")}),
                one_of({"conv": Block("conv"), "mb": Block(kernel=5, expand=2.3, se=0.25)}),
                Block(expand=one_of(0.5, 1, 3), se=one_of(0, 0.5), se_from="expanded"),
            ),
        ),
    ),
    Stem(one_of(8, 16), one_of(3, 5)),
    Head(one_of(0, 24), hidden=one_of(0, 16), hidden_layer=one_of("linear", "conv")),
    resolution=one_of(16, 24),
    classes=5,
    padding="same",
    drop_path=0.2,
)
CONTRACT = {
    "mbconv_28": SPACES["mbconv_28"],
    "mobilenet_v3_small_32": SPACES["mobilenet_v3_small_32"],
    "nas_bench_macro": scaled(SPACES["nas_bench_macro"], width=0.25),
    "mobilenet_v4_28": SPACES["mobilenet_v4_28"],
    "odd": ODD,
}


@pytest.fixture(scope="module")
def supernets() -> dict[str, Supernet]:
    return {name: Supernet(space, seed=0) for name, space in CONTRACT.items()}


def norms_on_batches(net: nn.Module) -> nn.Module:
    """In use, but for norms, which look at the batch."""
    net.eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return net


@pytest.mark.parametrize("name", CONTRACT)
def test_active_and_extracted_networks_agree(name, supernets):
    supernet, space = supernets[name], CONTRACT[name]

    @settings(max_examples=6)
    @given(st.fixed_dictionaries({k: st.sampled_from(v) for k, v in choices(space).items()}))
    def agree(picks):
        arch = fill(space, picks)
        images = torch.randn(4, arch.channels, 24, 24)
        images = nn.functional.interpolate(images, arch.resolution)
        supernet.activate(arch)
        net = norms_on_batches(extract(supernet, arch))
        ours, plain = supernet(images), net(images)
        assert torch.allclose(ours, plain, rtol=1e-4, atol=1e-5)
        # gradients too: those of the parts, and none elsewhere
        ours.square().sum().backward()
        plain.square().sum().backward()
        total = sum(p.grad.square().sum() for p in net.parameters() if p.grad is not None)
        shared = [p.grad for p in supernet.parameters() if p.grad is not None]
        assert sum(g.square().sum() for g in shared).item() == pytest.approx(total.item(), rel=1e-3)
        supernet.zero_grad()

    agree()


@pytest.mark.parametrize("name", CONTRACT)
def test_recalibrated_networks_agree_on_the_images_they_were_recalibrated_on(name, supernets, rng):
    supernet, space = supernets[name], CONTRACT[name]
    arch = replace(fill(space, random_picks(space, rng)), resolution=32)
    images = torch.randn(64, arch.channels, 32, 32)
    if supernet.resizes:
        arch = replace(arch, resolution=24)
        images = images[:, :, :24, :24].contiguous()
    net = extract(supernet, arch)
    recalibrate(net, [(images, torch.zeros(64))])
    supernet.activate(arch)
    with torch.inference_mode():
        ours, plain = supernet(images), net(images)
    # running variances are unbiased, a batch's are not: n / (n - 1) at the fewest values, 64
    assert torch.allclose(ours, plain, rtol=0.1, atol=0.05 * ours.abs().max().item())
    assert all(m.momentum == 0.1 or m.momentum == arch.bn_momentum
               for m in net.modules() if isinstance(m, nn.BatchNorm2d))  # fmt: skip
    assert not net.training


def test_recalibration_averages_over_batches():
    arch = Arch((Stage(8, blocks=Block("conv")),), Stem(8), Head(0), 8, classes=2)
    net = build(arch, seed=0)
    images = torch.randn(30, 3, 8, 8)
    recalibrate(net, [(images[i : i + 10], torch.zeros(10)) for i in (0, 10, 20)])
    with torch.inference_mode():
        out = net.get_submodule("stem.conv.conv")(images)
    assert torch.allclose(net.stem.conv.bn.running_mean, out.mean((0, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("name", CONTRACT)
def test_ends_are_the_largest_and_smallest(name):
    trellis = Trellis(CONTRACT[name])
    macs, params = trellis.row_costs.macs, trellis.row_costs.params
    largest, smallest = (
        cost(fill(trellis.space, extreme_picks(trellis, largest=largest)))
        for largest in (True, False)
    )
    assert largest.params == trellis.extreme(params, most=True)[0]
    assert smallest.macs == trellis.extreme(macs)[0]
    if name == "odd":  # parameters say nothing of the resolution
        assert largest.macs == trellis.extreme(macs, most=True)[0]


@pytest.mark.parametrize("name", CONTRACT)
def test_where_all_is_allowed_the_ends_of_a_sampler_are_those_of_the_space(name):
    """Random draws come nowhere near them: of seven stages the largest had three."""
    sampler = FeasibleSampler(CONTRACT[name], lambda genomes: np.ones(len(genomes), bool))
    largest, smallest = (cost(fill(CONTRACT[name], picks)) for picks in sampler.ends)
    trellis = sampler.trellis
    assert largest.params == trellis.extreme(trellis.row_costs.params, most=True)[0]
    assert smallest.macs == trellis.extreme(trellis.row_costs.macs)[0]


@pytest.mark.parametrize("name", CONTRACT)
def test_shared_layers_are_as_large_as_needed_and_no_larger(name, rng):
    space = CONTRACT[name]
    largest = largest_layers(space)
    assert list(largest) == sorted(largest)  # not as a process happens to order sets
    reached: dict[tuple[str, str, str, str], int] = {}
    for i in range(80):
        picks = random_picks(space, rng) if i else extreme_picks(Trellis(space), largest=True)
        for row in operators(fill(space, picks)):
            for role, layer in largest.get((row.place, row.op), {}).items():
                for used in row.layers:
                    if getattr(used, "role", "se") == role:
                        for size in ("cin", "cout", "kernel"):
                            key = (row.place, row.op, role, size)
                            value = getattr(used, size, 0)
                            reached[key] = max(reached.get(key, 0), value)
                            assert value <= getattr(layer, size, 0)
    if name == "nas_bench_macro":  # small enough for every size to be met
        assert all(getattr(largest[p, o][r], s, 0) == v for (p, o, r, s), v in reached.items())
        assert {(p, o) for p, o, _, _ in reached} == set(largest)


def test_smaller_layers_take_leading_channels_and_the_centre():
    weight = torch.arange(4 * 3 * 5 * 5).view(4, 3, 5, 5)
    part = slice_weight(weight, (2, 1, 3, 3))
    assert torch.equal(part, weight[:2, :1, 1:4, 1:4])
    assert part.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()
    assert slice_weight(weight, weight.shape) is weight


def test_one_seed_one_supernet_and_no_global_state_touched():
    before = torch.get_rng_state()
    first, second, other = (Supernet(ODD, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not all(map(torch.equal, first.parameters(), other.parameters()))


def test_networks_of_other_spaces_are_refused(supernets):
    supernet = supernets["nas_bench_macro"]
    for wrong in (CONTRACT["odd"], SPACES["nas_bench_macro"]):
        arch = fill(wrong, extreme_picks(Trellis(wrong), largest=True))
        with pytest.raises(UserError, match="no such layer at stem"):
            supernet.activate(arch)
    with pytest.raises(UserError, match="one padding"):
        Supernet(replace(ODD, padding=one_of("same", "symmetric")))


def test_sandwich_draws_the_ends_and_any_activation():
    space = SPACES["mbconv_28"]
    sandwich = Sandwich(space, num_random=3)
    drawn = [sandwich.step(random.Random(seed)) for seed in range(12)]
    assert {len(archs) for archs in drawn} == {5}
    sizes = [[cost(arch) for arch in archs] for archs in drawn]
    assert len({s[0] for s in sizes}) == len({s[-1] for s in sizes}) == 1
    assert all(s[-1].macs <= min(c.macs for c in s) for s in sizes)
    assert all(s[0].params >= max(c.params for c in s) for s in sizes)
    assert {archs[0].head.act for archs in drawn} == {"relu", "relu6", "hswish", "swish"}
    assert sandwich.step(random.Random(3)) == drawn[3]
    assert free_choices(CONTRACT["nas_bench_macro"], sandwich_largest()) == []


def test_a_sandwich_within_limits_draws_what_they_allow_evenly_over_log_macs():
    space = SPACES["mbconv_28"]
    trellis = Trellis(space)
    least, most = 2e6, 2e7

    def within(genomes):
        macs = trellis.costs(genomes).macs
        return (macs >= least) & (macs <= most)

    sampler = FeasibleSampler(space, within, seed=1)
    assert within(sampler.genomes).all()
    macs = trellis.costs(sampler.genomes).macs
    sandwich = Sandwich(space, num_random=4, sampler=sampler)
    drawn = [sandwich.step(random.Random(seed)) for seed in range(12)]
    assert sandwich.step(random.Random(3)) == drawn[3]
    params = trellis.costs(sampler.genomes).params
    assert all(cost(archs[0]).params >= params.max() for archs in drawn)
    counts = np.array([[cost(arch).macs for arch in archs] for archs in drawn])
    assert (counts[:, -1] == macs.min()).all()
    assert (counts >= least).all()
    assert (counts <= most).all()
    edges = np.exp(np.linspace(np.log(macs.min()), np.log(macs.max()), 5))
    for part in range(4):  # the next network above what was drawn may be in the next part
        assert (counts[:, 1 + part] >= edges[part]).all()
        assert np.median(counts[:, 1 + part]) <= edges[part + 1]
    sampled = sandwich.sample(5, random.Random(0))
    assert within(trellis.encode([picks_of(space, arch) for arch in sampled])).all()


def test_where_few_networks_are_allowed_all_come_alike():
    """However near to each other their multiply-adds are."""
    widths = one_of(8, 9, 10, 11, 100)
    space = Arch((Stage(widths, 1),), Stem(8), Head(16), resolution=8, classes=4)
    sampler = FeasibleSampler(space, lambda genomes: np.ones(len(genomes), bool))
    sandwich = Sandwich(space, num_random=2, sampler=sampler)
    drawn = [arch for seed in range(250) for arch in sandwich.step(random.Random(seed))[1:-1]]
    times = Counter(arch.stages[0].width for arch in drawn)
    assert times.keys() == {8, 9, 10, 11, 100}
    assert min(times.values()) > 70  # of 100 each


def test_networks_of_equal_multiply_adds_come_alike():
    space = CONTRACT["nas_bench_macro"]
    sampler = FeasibleSampler(space, lambda genomes: np.ones(len(genomes), bool))
    drawn = sampler.trellis.encode(sampler.sample(30_000, random.Random(0)))
    networks, times = np.unique(drawn, axis=0, return_counts=True)
    macs = sampler.trellis.costs(networks).macs
    known = Counter(sampler.trellis.costs(np.unique(sampler.genomes, axis=0)).macs.tolist())
    assert len(networks) > 2 * len(known)  # of each number of MACs more than one
    often = max(
        (m for m, number in known.items() if number >= 4), key=lambda m: times[macs == m].sum()
    )
    assert len(times[macs == often]) == known[often]
    assert times[macs == often].min() > times[macs == often].max() / 2


def test_the_ends_take_no_activation_that_limits_forbid():
    widths, acts = one_of(8, 16, name="width"), one_of("relu", "relu6", "swish", name="act")
    space = Arch((Stage(widths, blocks=Block(act=acts)),), Stem(8), Head(16), 8, classes=4)
    slow = Trellis(space).keys.index("act")
    sampler = FeasibleSampler(space, lambda genomes: genomes[:, slow] < 2)
    sandwich = Sandwich(space, num_random=2, sampler=sampler)
    drawn = [arch for seed in range(30) for arch in sandwich.step(random.Random(seed))[::3]]
    assert {(arch.stages[0].width, arch.stages[0].blocks.act) for arch in drawn} == {
        (width, act) for width in (8, 16) for act in ("relu", "relu6")
    }


def test_pools_differ_by_what_is_allowed_and_an_empty_one_is_refused():
    space = SPACES["mbconv_28"]
    trellis = Trellis(space)

    def below(macs):
        return FeasibleSampler(space, lambda genomes: trellis.costs(genomes).macs <= macs)

    assert below(1e7).digest == below(1e7).digest != below(9e6).digest
    with pytest.raises(UserError, match="none of 100,000 random networks is within the limits"):
        below(1)


def sandwich_largest():
    return extreme_picks(Trellis(CONTRACT["nas_bench_macro"]), largest=True)


def test_a_supernet_leaves_all_generators_alone(monkeypatch):
    state = torch.get_rng_state()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("a GPU's generator"))
    Supernet(ODD, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
