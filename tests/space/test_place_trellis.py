"""A head for boxes or masks over blocks that shrink: the trellis has the rows of every network."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.dense import PRESETS
from nas.arch.operators import network_id, operators
from nas.core.errors import UserError
from nas.space.bounds import cost_bounds
from nas.space.choices import choices, fill, one_of
from nas.space.trellis.trellis import Trellis
from search_spaces.inherited import at_resolution, inherited, place_of
from search_spaces.lookup import PUBLISHED

HEADS = {
    "ssdlite": replace(PRESETS["ssdlite"], finer_maps=1),
    "lraspp": PRESETS["lraspp"],
    "deeplabv3": replace(PRESETS["deeplabv3"], output_stride=8),
}
FAMILIES = ["tf_efficientnet_lite0", "mobilenet_v3_small", "mobilenet_v2_0.35", "mobilenet_v1_0.25"]


def space_of(name, head):
    return inherited(name, [128, 64], [0.5, 0.25], [3], 3, 4, HEADS[head])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", FAMILIES)
def test_rows_and_costs_are_those_of_every_network(name, head):
    trellis = Trellis(space_of(name, head))
    genomes = trellis.random(12, np.random.default_rng(0))
    costs, ids = trellis.costs(genomes), trellis.row_ids(genomes)
    for i, picks in enumerate(trellis.decode(genomes)):
        arch = fill(trellis.space, picks)
        own, known = operators(arch), cost(arch)
        assert [trellis.index(row) for row in own] == [x for x in ids[i].tolist() if x >= 0]
        assert [getattr(costs, f.name)[i] for f in fields(known)] == [
            getattr(known, f.name) for f in fields(known)
        ]


def test_the_ends_of_a_space_are_exact():
    space = inherited("mobilenet_v2_0.35", [64, 32], [0.5], [3], 3, 4, HEADS["ssdlite"])
    space = replace(space, stages=(*space.stages[:2], *fill_rest(space)))
    trellis = Trellis(space)
    grid = np.indices([len(labels) for labels in choices(space).values()])
    macs = trellis.costs(grid.reshape(len(grid), -1).T).macs
    assert [bound.macs for bound in cost_bounds(space)] == [macs.min(), macs.max()]


def fill_rest(space):
    """Its later stages with the first choice of each block."""
    first = {key: labels[0] for key, labels in choices(space).items()}
    return fill(space, first).stages[2:]


def test_a_block_that_the_head_reads_inside_stays_whole():
    space = space_of("tf_efficientnet_lite0", "ssdlite")
    places = [row.place for row in operators(at_resolution(space, 128))]
    read = [place.removesuffix("_expand") for place in places if place.endswith("_expand")]
    assert len(read) == 2  # before strides 16 and 32
    chosen = {place_of(key) for key in choices(space) if key != "resolution"}
    assert chosen
    assert not chosen & set(read)


def test_networks_are_told_apart_and_heads_are_the_same():
    trellis = Trellis(space_of("mobilenet_v3_small", "lraspp"))
    genomes = trellis.random(30, np.random.default_rng(1))
    archs = [fill(trellis.space, picks) for picks in trellis.decode(genomes)]
    lines = {tuple(line) for line in trellis.networks(genomes).tolist()}
    assert len(lines) == len({network_id(arch) for arch in archs})


def test_blocks_that_the_first_labels_leave_out_have_their_rows():
    blocks = one_of({"none": Block("identity"), "k3": Block(expand=2), "k5": Block(kernel=5)})
    last = Stage(16, 2, 1, (blocks, blocks))
    stages = (Stage(8, 1, 2), Stage(16, 1, 2), last)
    trellis = Trellis(Arch(stages, Stem(8), Head(16), 64, classes=4, dense=HEADS["lraspp"]))
    genomes = np.indices((3, 3)).reshape(2, -1).T
    ids, macs = trellis.row_ids(genomes), trellis.costs(genomes).macs
    for i, picks in enumerate(trellis.decode(genomes)):
        arch = fill(trellis.space, picks)
        own = [trellis.index(row) for row in operators(arch)]
        assert own == [x for x in ids[i].tolist() if x >= 0]
        assert cost(arch).macs == macs[i]


def test_widths_cannot_be_chosen_under_a_head():
    arch = replace(PUBLISHED["mobilenet_v2_0.35"], dense=HEADS["ssdlite"], resolution=64)
    wider = replace(arch.stages[3], width=one_of(16, 24))
    space = replace(arch, stages=(*arch.stages[:3], wider, *arch.stages[4:]))
    with pytest.raises(UserError, match=r"stages.3.width changes .*weights=pretrained"):
        Trellis(space)
