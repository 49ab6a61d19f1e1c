"""Blocks that do not end in a convolution stay whole in an inherited network."""

from __future__ import annotations

from dataclasses import replace

import torch
from made_networks import batches_of, made_network, pictures, space_of, table_of

from nas.arch import Arch, Block, Head, Stage, Stem, network_id
from nas.inheritance.refit import Answers, inherit
from nas.space.choices import choices, fill
from search_spaces.inherited import inherited
from search_spaces.lookup import PUBLISHED

MIXED = Arch(
    (
        Stage(8, 1, 2, Block("maxpool")),
        Stage(16, 2, 1, Block("shuffle")),
        Stage(16, 2, 2, (Block(expand=4), Block("shuffle"))),
    ),
    Stem(8),
    Head(32),
    resolution=32,
    classes=5,
)


def test_only_the_other_blocks_shrink(tmp_path):
    space, net = space_of(MIXED, tmp_path), made_network(MIXED)
    assert list(choices(space)) == ["stages.2.blocks.0"]
    images = batches_of(pictures(MIXED, 80, 3))
    table = table_of(net, space, 32, images)
    small = fill(space, {"stages.2.blocks.0": "k3 e2"})
    got = inherit(net, small, table, Answers.of(net, images), images)
    for place in ("stage1_block1", "stage2_block1", "stage2_block2", "stage3_block2"):
        ours, theirs = got.get_submodule(place), net.get_submodule(place)
        assert type(ours) is type(theirs)
        states = ours.state_dict(), theirs.state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
    with torch.inference_mode():
        x = pictures(MIXED, 40, 4)
        assert got(x).isfinite().all()
        assert not torch.allclose(got(x), net(x))


def test_a_network_of_such_blocks_alone_has_its_sides_only():
    space = inherited("shufflenet_v2", [224, 160], (0.5,), (3,))
    assert choices(space) == {"resolution": (224, 160)}
    whole = fill(space, {"resolution": 224})
    assert network_id(whole) == network_id(replace(PUBLISHED["shufflenet_v2"], bn_momentum=0.1))
