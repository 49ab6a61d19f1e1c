"""One elastic network for all ways of scaling a baseline."""

from __future__ import annotations

import random
from dataclasses import replace

from stripes import DATA, SHORT

from nas.accuracy.elastic import common_space, elastic
from nas.accuracy.judge import JudgeContext
from nas.accuracy.oneshot import OneShotSettings
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import network_id
from nas.arch.scaling import Factors, apply
from nas.space.choices import choices, fill, random_picks
from nas.space.trellis.trellis import Trellis
from nas.supernet.supernet import Supernet

BASE = Arch(
    (Stage(8, 1), Stage(16, 2, 2, (Block(expand=2, se=0.25), Block(expand=3)))),
    Stem(8), Head(16), resolution=8, channels=2, classes=4,
)  # fmt: skip
FACTORS = [Factors(), Factors(depth=2), Factors(width=2), Factors(resolution=1.5),
           Factors(1.5, 1.5, 1.25)]  # fmt: skip
GROWN = [apply(BASE, factors) for factors in FACTORS]


def test_the_common_space_holds_every_network_and_ties_its_choices():
    space = common_space(GROWN)
    assert {key: len(labels) for key, labels in choices(space).items()} == {
        "depth": 3, "width": 3, "resolution": 3,
    }  # fmt: skip
    labels = choices(space)
    every = {
        network_id(fill(space, {"depth": d, "width": w, "resolution": r}))
        for d in labels["depth"] for w in labels["width"] for r in labels["resolution"]
    }  # fmt: skip
    assert {network_id(arch) for arch in GROWN} <= every
    assert len(every) == 27


def test_one_training_scores_them_all_and_trains_no_other(tmp_path):
    trained = []

    def open_judge(context):
        trained.append(context.feasible)
        return OneShotSettings(SHORT).open(context)

    checkpoint = tmp_path / "supernet.pt"
    context = JudgeContext(BASE, lambda: DATA, "cpu", seed=1, checkpoint=checkpoint)
    judge = elastic(open_judge, GROWN, context)
    assert not trained
    answers = dict(judge([(arch, 0, 0) for arch in GROWN]))
    assert sorted(answers) == list(range(len(GROWN)))
    assert all(answer.val.cross_entropy > 0 for answer in answers.values())
    assert len({answer.val.cross_entropy for answer in answers.values()}) == len(GROWN)
    (feasible,) = trained
    space, rng = common_space(GROWN), random.Random(0)
    picks = [random_picks(space, rng) for _ in range(60)]
    asked = [fill(space, p) in [replace(arch, name="") for arch in GROWN] for p in picks]
    assert feasible(Trellis(space).encode(picks)).tolist() == asked
    assert 0 < sum(asked) < 60


def test_a_single_way_of_scaling_is_a_space_too():
    space = common_space(GROWN[:2])
    assert list(choices(space)) == ["depth"]
    Supernet(space).activate(GROWN[0])
    assert common_space(GROWN[:1]).stages == BASE.stages
