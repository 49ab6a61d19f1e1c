"""What searched networks have in common, against others' counts of the published ones."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from nas.rediscover.patterns import (
    HYPOTHESES,
    PLAIN,
    TESTED,
    agreement,
    by_stage,
    rows_from,
    rows_of,
)
from nas.rediscover.verdict import agreement_rows, conclusion, hypothesis_rows, worth_rows
from nas.search.samplers.for_space import KnownCost
from nas.space.choices import fill, random_picks
from nas.space.constrained import ConstrainedSpace
from nas.space.trellis.trellis import Trellis
from search_spaces.lookup import PUBLISHED
from search_spaces.mobilenet_v3 import mobilenet_v3

REFERENCE = (
    Path(__file__).parents[3] / "shared" / "reference" / "scaling" / "searched_arch_patterns.json"
)
SPACE = mobilenet_v3(width=0.25, resolution=32, classes=10)
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_file(), reason="needs the reference of searched networks"
)


def archs(number, seed=0):
    rng = random.Random(seed)
    return [fill(SPACE, random_picks(SPACE, rng)) for _ in range(number)]


def networks(number, seed=0):
    return [rows_of(arch) for arch in archs(number, seed)]


def test_the_blocks_of_mobilenet_v3_are_those_of_its_tables():
    rows = rows_of(PUBLISHED["mobilenet_v3_large"])
    assert len(rows) == 14
    assert [row.kernel for row in rows] == [3] * 2 + [5] * 3 + [3] * 6 + [5] * 3
    assert [row.se for row in rows] == [False] * 2 + [True] * 3 + [False] * 4 + [True] * 5
    assert [row.smooth for row in rows] == [False] * 5 + [True] * 9
    assert [row.stride for row in rows if row.first] == [2, 2, 2, 1, 2]


@needs_reference
def test_published_networks_are_counted_as_others_counted_them():
    reference = json.loads(REFERENCE.read_text())
    ours = {"MobileNetV3-Large": "mobilenet_v3_large", "MnasNet-A1": "mnasnet_a1"}
    ours |= {"MnasNet-B1": "mnasnet_b1", "MobileNetV3-Small": "mobilenet_v3_small"}
    ours |= {"EfficientNet-B0": "efficientnet_b0"}
    for name, own in ours.items():
        theirs, mine = rows_from(reference["archs"][name]), rows_of(PUBLISHED[own])
        assert [r[:4] + r[5:6] for r in theirs] == [r[:4] + r[5:6] for r in mine], name
        assert np.allclose([r.expand for r in theirs], [r.expand for r in mine], atol=0.01)
        told = reference["per_network"][name]
        first = np.mean([r.expand for r in mine if r.first])
        rest = np.mean([r.expand for r in mine if not r.first])
        assert (first, rest) == pytest.approx((told["e_first"], told["e_rest"]), abs=0.006)
        assert HYPOTHESES["expand_first"].contrast(mine) == pytest.approx(first - rest)


@needs_reference
def test_the_stages_of_all_24_are_those_of_the_reference():
    reference = json.loads(REFERENCE.read_text())
    found = by_stage([rows_from(blocks) for blocks in reference["archs"].values()])
    for stage, told in reference["all_by_stage"].items():
        measured = found["kernel 5 and more"][int(stage)]
        assert measured == pytest.approx(told["k_ge5_macro"], abs=0.0006)


def test_agreement_is_one_with_oneself_and_counts_slots_that_both_have():
    large, small = (rows_of(PUBLISHED[f"mobilenet_v3_{size}"]) for size in ("large", "small"))
    assert agreement(large, large) == 1
    assert agreement(large, small) == agreement(small, large) < 1
    changed = [row._replace(kernel=7) for row in large]
    assert agreement(changed, large) == 0.75


def test_contrasts_of_blocks_that_are_not_there_are_unknown():
    alone = [row for row in rows_of(PUBLISHED["mobilenet_v3_large"]) if row.first]
    assert np.isnan(HYPOTHESES["expand_first"].contrast(alone))
    rows = {row["name"]: row for row in hypothesis_rows([alone] * 5, networks(60), [alone])}
    assert not rows["expand_first"]["found"]
    assert np.isnan(rows["expand_first"]["p"])


def search(score, seed, trellis, space):
    """The winner of one search by the sampler of nas.search, judged by `score`."""
    sampler = KnownCost("limit").for_space(space, target_ms=space.max_ms, seed=seed)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    best, winner = -np.inf, None
    for _ in range(40):
        trial = study.ask({k: CategoricalDistribution(v) for k, v in trellis.labels.items()})
        rows = rows_of(fill(SPACE, trial.params))
        value = score(rows)
        study.tell(trial, [value, 1.0])
        if value > best:
            best, winner = value, rows
    return winner


@pytest.fixture(scope="module")
def space():
    trellis = Trellis(SPACE)
    return trellis, ConstrainedSpace(trellis, trellis.row_costs.macs * 1e-6, max_ms=2.2)


def planted(rows):
    """Late SE and large first expansions help; nothing else does."""
    late = np.mean([row.se for row in rows if row.stage == 5])
    first = np.mean([row.expand for row in rows if row.first])
    rest = [row.expand for row in rows if not row.first]
    return float(late + (first - (np.mean(rest) if rest else first)) / 5)


def test_what_is_planted_is_found_by_searches(space):
    winners = [search(planted, seed, *space) for seed in range(12)]  # five tell it half the time
    rows = {row["name"]: row for row in hypothesis_rows(winners, networks(200), [winners[0]])}
    assert rows["se_last"]["found"]
    assert rows["expand_first"]["found"]
    assert not rows["kernel_stride"]["found"]
    assert not rows["smooth_late"]["found"]


def test_where_all_networks_are_equal_nothing_is_found(space):
    noise = np.random.default_rng(0)
    winners = [search(lambda rows: float(noise.normal()), seed, *space) for seed in range(5)]
    rows = hypothesis_rows(winners, networks(200), [winners[0]])
    assert not any(row["found"] for row in rows)


def test_the_family_is_wrong_as_seldom_as_it_says():
    """Winners that are random networks: something is found in about one of twenty families."""
    wrong = 0
    for i in range(60):
        many = networks(105, seed=100 + i)
        wrong += any(row["found"] for row in hypothesis_rows(many[:5], many[5:], [many[0]], i))
    assert wrong <= 8  # of 60; 3 are expected, more than 8 in one of 200 such tests


def test_what_is_planted_is_what_trainings_say():
    some, noise = archs(150), np.random.default_rng(0)
    accuracies = [planted(rows_of(arch)) / 10 + float(noise.normal(0, 0.05)) for arch in some]
    found = {row["words"]: row for row in worth_rows(some, accuracies, TESTED)}
    late, first = (HYPOTHESES[name].words for name in ("se_last", "expand_first"))
    assert {words for words, row in found.items() if row["found"]} == {late, first}
    numbers = np.array([HYPOTHESES["se_last"].contrast(rows_of(arch)) for arch in some])
    known = np.isfinite(numbers)
    x = (numbers[known] - numbers[known].mean()) / numbers[known].std()
    row, y = found[late], np.array(accuracies)[known]
    assert row["networks"] == known.sum()
    assert row["gain"] == pytest.approx(np.mean(x * y))
    assert row["low"] < row["gain"] < row["high"]


@pytest.mark.parametrize("words", PLAIN)
def test_a_plain_choice_that_matters_is_told(words):
    some, noise = archs(150), np.random.default_rng(0)
    values = np.array([PLAIN[words](arch) for arch in some], float)
    accuracies = (values - values.mean()) / values.std() + noise.normal(size=150)
    [row] = worth_rows(some, accuracies, {words: PLAIN[words]})
    assert row["found"]
    assert row["low"] < 1 < row["high"]


def test_trainings_of_equal_networks_say_nothing():
    noise = np.random.default_rng(0)
    wrong = 0
    for i in range(40):
        rows = worth_rows(archs(40, seed=i), noise.normal(size=40), TESTED)
        wrong += any(row["found"] for row in rows)
    assert wrong <= 6  # 2 are expected, more than 6 in one of 300 such tests
    for row in worth_rows(archs(1) * 5, [0.1, 0.2, 0.3, 0.4, 0.5], TESTED):
        assert np.isnan([row["gain"], row["p"], row["holm"]]).all()
        assert not row["found"]


def test_agreement_beyond_random_networks_is_told():
    large = rows_of(PUBLISHED["mobilenet_v3_large"])
    [row] = agreement_rows([large] * 5, networks(100), {"mobilenet_v3_large": large})
    assert row["searched"] == 1
    assert row["low"] < row["random"] < row["high"] < 1
    assert row["p"] < 0.001


def test_a_judge_that_does_not_rank_leaves_nothing_to_conclude():
    taus = {"networks": 24, "mean": 0.1, "low": -0.2, "high": 0.3, "seeds": 0.6}
    rows = [{"words": "SE late", "difference": 0.5, "found": True}]
    told = [{"words": "SE late", "gain": 0.005, "found": True}]
    worth = {"networks": 300, "tested": told, "plain": []}
    summary = {"taus": taus, "hypotheses": rows, "searches": [{}] * 3, "worth": worth}
    line, alone = conclusion(summary)
    assert "Of 300 random networks" in alone
    assert "SE late (+0.5 points" in alone
    assert line.startswith("Nothing can be concluded")
    assert "the wrong way round" in conclusion(summary | {"taus": taus | {"high": -0.1}})[0]
    summary |= {"taus": taus | {"low": 0.01}}
    first, second, _ = conclusion(summary)
    assert "SE late (+0.50)" in first
    assert "0.10 (0.01 to 0.30)" in second
    summary |= {"hypotheses": [row | {"found": False} for row in rows]}
    assert "can the networks of 3 searches be told from random" in conclusion(summary)[0]
