"""Blocks under a head for boxes or masks: scored and put together as in whole networks."""

from __future__ import annotations

import copy

import pytest
import torch
from made_networks import randomise

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.dense import Dense
from nas.arch.operators import operators
from nas.inheritance.refit import Answers, choose_rows, inherit
from nas.inheritance.replacements import score_blocks, study_blocks
from nas.network.modules import build
from nas.space.choices import choices, fill
from nas.tasks.detection import Detection
from nas.tasks.segmentation import Segmentation
from search_spaces import inherited as spaces

ARCH = Arch(
    (Stage(8, 1, 2, Block(expand=2)), Stage(16, 2, 2, Block(expand=4)),
     Stage(16, 2, 2, Block(kernel=5, expand=4)), Stage(24, 2, 2, Block(expand=4, act="hswish"))),
    Stem(8), Head(32), resolution=64, channels=3, classes=3,
)  # fmt: skip
HEADS = {
    "ssdlite": Dense("ssdlite", width=32, finer_maps=1),
    "lraspp": Dense("lraspp", width=16, output_stride=16),
    "deeplabv3": Dense("deeplabv3", width=16, output_stride=16, rate=2),
}


def task_of(head):
    if head == "ssdlite":
        pytest.importorskip("faster_coco_eval", reason="needs pip install -e '.[detection]'")
        return Detection()
    return Segmentation(head=head)


@pytest.fixture(params=HEADS)
def made(request, monkeypatch):
    """A head, the space of what the network with it shrinks to, the network, some pictures."""
    monkeypatch.setattr(spaces, "resolve_network", lambda name: (ARCH, name))
    space = spaces.inherited("mine", [64], [0.5], [3], 3, 3, HEADS[request.param])
    net = build(spaces.at_resolution(space, 64), 0)
    draws = torch.Generator().manual_seed(0)
    for module in net.modules():
        randomise(module, draws)
    images = torch.randn(6, 3, 64, 64, generator=draws)
    return request.param, space, net.eval(), lambda: iter(images.split(3))


def studied(space, net, images, apart):
    rows = spaces.replacement_rows(space, 64)
    wanted = {spaces.place_of(k): [r for r in by.values() if r] for k, by in rows.items()}
    studies = study_blocks(net, spaces.at_resolution(space, 64), wanted, images)
    return dict(score_blocks(net, studies, images, apart))


def test_a_score_is_how_far_the_whole_networks_answers_move(made):
    head, space, net, images = made
    apart, x = task_of(head).divergence, torch.cat(list(images()))
    found = studied(space, net, images, apart)
    first = {key: labels[0] for key, labels in choices(space).items()}
    keys = {spaces.place_of(key): key for key in first if key != "resolution"}
    assert set(found) == set(keys)
    with torch.inference_mode():
        answers = net(x)
        for place, replacements in found.items():
            assert replacements[0].score == 0
            for replacement in replacements[1:]:
                if replacement.module is None:
                    arch = fill(space, first | {keys[place]: spaces.LEFT_OUT})
                    changed = build(arch).eval()
                    changed.load_state_dict(net.state_dict(), strict=False)
                else:
                    changed = copy.deepcopy(net)
                    setattr(changed, place, replacement.module)
                assert replacement.score == pytest.approx(apart(answers, changed(x)), rel=1e-4)
                assert replacement.score > 0


def test_the_whole_network_inherits_its_answers(made):
    head, space, net, images = made
    table = studied(space, net, images, task_of(head).divergence)
    whole = spaces.at_resolution(space, 64)
    same = inherit(net, whole, table, Answers.of(net, images), images)
    with torch.inference_mode():
        for x in images():
            assert torch.allclose(same(x), net(x), atol=1e-3, rtol=1e-3)


def test_a_smaller_network_keeps_the_head_as_it_was(made):
    head, space, net, images = made
    table = studied(space, net, images, task_of(head).divergence)
    last = {key: labels[-1] for key, labels in choices(space).items()}
    arch = fill(space, last)
    small = inherit(net, arch, table, Answers.of(net, images), images)
    rows = dict(choose_rows(net, arch, table))
    assert [row.place for row in operators(arch)] == [place for place, _ in small.named_children()]
    for name, tensor in small.answers.state_dict().items():
        assert torch.equal(tensor, rows["answers"].state_dict()[name])
    with torch.inference_mode():
        answers = [small(x) for x in images()]
    assert all(one.isfinite().all() for one in answers)
