"""Whole smaller networks from the trained one's blocks and replacements."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from made_networks import (
    NETWORKS,
    batches_of,
    made_network,
    pictures,
    row_at,
    space_of,
    table_of,
)

from nas.arch.operators import network_id, operators
from nas.inheritance import refit as refit_module
from nas.inheritance.refit import Answers, inherit, refittable
from nas.inheritance.replacements import sampled
from nas.inheritance.surgery import features, last_conv
from nas.network.modules import build
from nas.space.choices import choices, fill, random_picks
from nas.training.evaluation import divergence
from search_spaces.inherited import LEFT_OUT

every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """By name: the network, its space, the table of replacements, answers and pictures."""
    found = {}
    for name, arch in NETWORKS.items():
        net, images = made_network(arch), batches_of(pictures(arch, 80, 9))
        net.to(memory_format=torch.channels_last)
        space = space_of(arch, tmp_path_factory.mktemp(name))
        table = table_of(net, space, arch.resolution, images)
        found[name] = net, space, table, Answers.of(net, images), images
    return found


def outputs(net, arch, x):
    """What every row ends in, before a last activation: by place, and the network's answers."""
    found = {}
    with torch.no_grad():
        for place, module in net.named_children():
            if refittable(module):
                last = last_conv(module)
                linear = last.linear(features(module, x.clone()))
                adds = row_at(arch, place).residual and isinstance(last.act, torch.nn.Identity)
                found[place] = x + linear if adds else linear
            x = module(x.clone())
    return found, x


@every_network
def test_answers_are_what_the_blocks_put_out(name, studied):
    net, _, _, answers, images = studied[name]
    arch = NETWORKS[name]
    found = {}
    for number, x in enumerate(images()):
        blocks, _ = outputs(net, arch, x)
        for place, maps in blocks.items():
            maps = maps.flatten(2).transpose(1, 2)
            found.setdefault(place, []).append(sampled(place, number, maps))
    assert "stem" not in answers.blocks
    places = {row.place for row in operators(arch)}
    assert {p for p in places if p.startswith("stage")} | {"head"} <= set(answers.blocks)
    for place, seen in answers.blocks.items():
        assert torch.allclose(seen, torch.cat(found[place]), atol=1e-4), place


@every_network
def test_its_own_network_it_answers_as_the_trained(name, studied):
    net, _, table, answers, images = studied[name]
    arch = NETWORKS[name]
    x = pictures(arch, 30, 11)
    with torch.no_grad():
        before = net(x.clone())
        plain = inherit(net, arch, table, answers, images, refit=False)
        assert torch.equal(plain.to(memory_format=torch.channels_last)(x.clone()), before)
        new = inherit(net, arch, table, answers, images)
        assert torch.allclose(new(x.clone()), before, atol=5e-3)
    assert new is not net
    assert not any(a is b for a in new.parameters() for b in net.parameters())
    assert not new.training


def smaller(space, rng):
    """A network with a smaller kernel, fewer channels, and blocks left out."""
    picks = random_picks(space, rng)
    droppable = [key for key, labels in choices(space).items() if LEFT_OUT in labels]
    return fill(space, picks | {droppable[0]: LEFT_OUT})


@every_network
def test_fitted_in_order_every_block_is_nearer_than_unfitted(name, studied, monkeypatch):
    net, space, table, answers, images = studied[name]
    for seed in range(3):
        arch = smaller(space, random.Random(seed))
        assert network_id(arch) != network_id(NETWORKS[name])
        plain = inherit(net, arch, table, answers, images, refit=False)
        new = inherit(net, arch, table, answers, images)
        x = torch.cat(list(images()))
        assert new(x.clone()).shape == (80, 5)
        assert all(t.isfinite().all() for t in new.state_dict().values())
        blocks = [row.place for row in operators(arch) if row.place in answers.blocks]
        blocks = blocks[: blocks.index("head") + 1]
        for place in blocks:
            # the network as it is when this block's turn comes
            half = build(arch).eval()
            for own, module in half.named_children():
                done = blocks.index(own) < blocks.index(place) if own in blocks else False
                source = new if done else plain
                module.load_state_dict(source.get_submodule(own).state_dict())
            errors = []
            for candidate in (half, new):
                found = []
                for number, part in enumerate(images()):
                    maps = outputs(candidate, arch, part)[0][place]
                    maps = maps.flatten(2).transpose(1, 2)
                    found.append(sampled(place, number, maps))
                error = torch.cat(found) - answers.blocks[place]
                errors.append(error.square().mean().item())
            assert errors[1] <= errors[0] * (1 + 1e-4) + 1e-7, place


@every_network
def test_fitted_in_order_the_answers_are_nearer(name, studied):
    net, space, table, answers, images = studied[name]
    x = pictures(NETWORKS[name], 100, 12)
    gains = []
    with torch.no_grad():
        before = net(x.clone())
        for seed in range(3):
            arch = smaller(space, random.Random(seed))
            plain = inherit(net, arch, table, answers, images, refit=False)
            new = inherit(net, arch, table, answers, images)
            gains.append(divergence(before, plain(x.clone())) - divergence(before, new(x.clone())))
    assert sum(gains) > 0


def test_a_fit_does_not_change_the_table_or_the_trained_network(studied):
    net, space, table, answers, images = studied["mobilenet_v2"]
    arch = smaller(space, random.Random(0))
    modules = [net, *(r.module for found in table.values() for r in found if r.module)]
    before = [{k: t.clone() for k, t in m.state_dict().items()} for m in modules]
    seen = {place: t.clone() for place, t in answers.blocks.items()}
    first, second = (inherit(net, arch, table, answers, images) for _ in range(2))
    for module, tensors in zip(modules, before, strict=True):
        assert all(torch.equal(tensors[k], t) for k, t in module.state_dict().items())
    assert all(torch.equal(seen[place], t) for place, t in answers.blocks.items())
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    first.train()(pictures(arch, 8, 0)).sum().backward()  # can be trained on


def test_inherited_networks_are_on_the_device_of_the_trained(studied):
    _, _, _, answers, images = studied["mobilenet_v2"]
    arch = NETWORKS["mobilenet_v2"]
    net = build(arch).to("meta")
    new = inherit(net, arch, {}, answers, images, refit=False)
    assert {t.device.type for t in new.state_dict().values()} == {"meta"}


def test_the_classifier_and_the_hidden_layer_stay(studied):
    net, space, table, answers, images = studied["mobilenet_v3"]
    new = inherit(net, smaller(space, random.Random(0)), table, answers, images)
    for place in ("stem", "hidden", "classifier"):
        ours, theirs = (m.get_submodule(place).state_dict() for m in (new, net))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("hidden", [0, 16])
def test_without_a_head_the_last_block_is_fitted(hidden, tmp_path):
    arch = NETWORKS["mobilenet_v2"]
    head = replace(arch.head, width=0, hidden=hidden, hidden_layer="conv")
    arch = replace(arch, head=head)
    net, images = made_network(arch), batches_of(pictures(arch, 80, 9))
    space = space_of(arch, tmp_path)
    table, answers = table_of(net, space, 32, images), Answers.of(net, images)
    small = smaller(space, random.Random(1))
    plain = inherit(net, small, table, answers, images, refit=False)
    new = inherit(net, small, table, answers, images)
    place = [row.place for row in operators(small) if row.place.startswith("stage")][-1]
    assert not torch.equal(
        last_conv(new.get_submodule(place)).conv.weight,
        last_conv(plain.get_submodule(place)).conv.weight,
    )
    x = pictures(arch, 30, 11)
    with torch.no_grad():
        same = inherit(net, arch, table, answers, images)
        assert torch.allclose(same(x.clone()), net(x.clone()), atol=5e-3)


def test_few_pictures_do_not_spoil_a_network(studied, monkeypatch):
    net, space, table, _, _ = studied["fused"]
    arch = NETWORKS["fused"]
    images = batches_of(pictures(arch, 2, 9))
    answers = Answers.of(net, images)
    x = pictures(arch, 30, 11)
    with torch.no_grad():
        new = inherit(net, arch, table, answers, images)
        assert torch.allclose(new(x.clone()), net(x.clone()), atol=1e-2)
    monkeypatch.setattr(refit_module, "REFIT_RIDGE", 1e-6)
    new = inherit(net, smaller(space, random.Random(0)), table, answers, images)
    assert all(t.isfinite().all() for t in new.state_dict().values())
