"""The prior that comes with the package: its traits, its fit from what is kept, its use."""

from __future__ import annotations

import json
import math
from random import Random

import numpy as np
import pytest
from conftest import needs_shared
from spaces import SPACES

from benchmarks.learn_prior import KEPT, fit, ridge
from benchmarks.rank_fidelity import networks
from nas.accuracy.correction import sizes_of
from nas.accuracy.predictor import predictor_fidelity
from nas.accuracy.traits import traits
from nas.accuracy.transferred import FARTHEST, LEARNT, LossRatios, loss_ratios
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.space.choices import fill, random_picks
from search_spaces.lookup import PUBLISHED
from search_spaces.published import MAKERS

SMALL = Arch(
    (
        Stage(8, 1, 1, Block(expand=1, kernel=3, act="relu6")),
        Stage(16, 3, 2, Block(expand=4, kernel=5, act="hswish", se=0.25)),
    ),
    Stem(8, stride=1, act="hswish"),
    Head(64, act="relu"),
    resolution=32,
    classes=10,
)


def test_traits_are_what_one_counts_by_hand():
    found = traits(SMALL)
    assert found["macs"] == pytest.approx(math.log2(cost(SMALL).macs))
    assert found["params"] == pytest.approx(math.log2(cost(SMALL).params))
    assert (found["blocks"], found["residual"]) == (4, 3 / 4)  # the second stage's first has none
    assert (found["reduction"], found["last_width"], found["head_width"]) == (1, 4, 6)
    assert (found["ends_smooth"], found["ends_relu6"]) == (1 / 2, 0)
    assert (found["width"], found["kernel"]) == ((3 + 3 * 4) / 4, (3 + 3 * 5) / 4)
    assert (found["se"], found["smooth"], found["relu6"]) == (3 / 4, 3 / 4, 1 / 4)
    assert found["expand"] == 3 * 2 / 4  # the first block neither widens nor expands
    assert found["se_late"] == pytest.approx((0 * -1.5 + -0.5 + 0.5 + 1.5) / 4)
    assert found["kernel_late"] > 0 > found["relu6_late"]


def test_every_network_has_the_same_traits():
    rng, names = Random(0), set(traits(SMALL))
    drawn = [fill(space, random_picks(space, rng)) for space in SPACES.values() for _ in range(20)]
    bare = Arch((Stage(8, 0, 1, Block()),), Stem(8), Head(16), resolution=32, classes=10)
    for arch in (*drawn, *(PUBLISHED[name] for name in MAKERS), bare):
        found = traits(arch)
        assert set(found) == names
        assert all(math.isfinite(value) for value in found.values()), arch


def test_what_is_left_out_has_no_traits():
    skipped = Arch(
        (*SMALL.stages[:1], Stage(16, 0, 1, Block()), *SMALL.stages[1:]),
        SMALL.stem, SMALL.head, resolution=32, classes=10,
    )  # fmt: skip
    assert traits(skipped) == traits(SMALL)


def test_ratios_multiply_what_each_trait_is_worth_and_end_where_nothing_was_learnt():
    has = traits(SMALL)
    near = LossRatios({"blocks": (3.0, 2.0, 0.1), "kernel": (has["kernel"], 1.0, 9.0)})
    assert near([SMALL]) == pytest.approx([math.exp(-0.1 * (4 - 3) / 2)])
    far = LossRatios({"blocks": (100.0, 2.0, 0.1)})
    assert far([SMALL]) == pytest.approx([math.exp(0.1 * FARTHEST)])


def test_ratios_of_the_package_are_moderate():
    """An ordinary network has about 1; no network many times the loss of another."""
    nets = [
        fill(SPACES["mbconv_28"], random_picks(SPACES["mbconv_28"], Random(i))) for i in range(99)
    ]
    nets += [PUBLISHED[name] for name in MAKERS]
    found = loss_ratios()(nets)
    assert 0.9 < np.median(found[:99]) < 1.1
    assert found.min() > 0.6
    assert found.max() < 1.6


def test_the_package_holds_what_the_kept_trainings_teach():
    again = json.loads(json.dumps(fit(KEPT)))
    kept = json.loads(LEARNT.read_text())
    assert set(kept["traits"]) == set(traits(SMALL)) == set(again["traits"])
    for name, row in kept["traits"].items():
        assert again["traits"].pop(name) == pytest.approx(row, abs=2e-6), name
    del again["traits"], kept["traits"]
    assert again == kept


def test_the_strength_of_a_ridge_is_that_of_the_least_error_on_what_is_left_out():
    """By leaving each row out in earnest."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 8))
    x -= x.mean(0)
    y = x[:, 0] + 2 * rng.normal(size=30)
    constant, weights = ridge(x, y)
    assert constant == pytest.approx(y.mean())

    def error(strength: float) -> float:
        left = []
        for i in range(30):
            rest = np.delete(np.arange(30), i)
            # centred as the whole is: the closed form keeps the columns' centre
            a = np.column_stack((np.ones(29), x[rest]))
            penalty = np.diag([0.0, *[strength] * 8])
            w = np.linalg.solve(a.T @ a + penalty, a.T @ y[rest])
            left.append(y[i] - w[0] - x[i] @ w[1:])
        return float(np.mean(np.square(left)))

    strengths = np.geomspace(0.1, 1000, 41)
    best = strengths[int(np.argmin([error(s) for s in strengths]))]
    direct = np.linalg.solve(x.T @ x + best * np.eye(8), x.T @ (y - y.mean()))
    assert np.allclose(weights, direct)


@needs_shared
def test_what_was_learnt_in_one_space_does_no_harm_in_another():
    truth = networks(300, 0)
    known = (truth.archs, sizes_of(truth.archs), truth.accuracy / 100 - 1, 20)
    without, within = (
        np.mean([predictor_fidelity(*known, seed, *more) for seed in range(4)])
        for more in ((), (loss_ratios(),))
    )
    assert within > without - 0.03
