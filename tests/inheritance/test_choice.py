"""The exact choice against every choice there is; ladders of networks."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_networks import NETWORKS, space_of

from nas.arch.cost import cost, layers_cost
from nas.arch.operators import network_id
from nas.inheritance import choice
from nas.inheritance.choice import best_sums
from nas.inheritance.ladder import Ladder
from nas.space.choices import choices, fill
from search_spaces.inherited import at_resolution, replacement_rows, sides_of


def every_front(costs, scores):
    """(cost, score) of all choices that no other beats, cost ascending."""
    sums = {}
    for options in itertools.product(*(range(len(own)) for own in costs)):
        total = sum(own[i] for own, i in zip(costs, options, strict=True))
        score = sum(own[i] for own, i in zip(scores, options, strict=True))
        sums[total] = min(score, sums.get(total, np.inf))
    front, best = [], np.inf
    for total in sorted(sums):
        if sums[total] < best:
            front.append((total, best := sums[total]))
    return front


# Whole numbers, so that sums are exact and ties are many; a score may lie below zero.
PROBLEMS = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.integers(-2, 6)), min_size=1, max_size=4),
    max_size=5,
)


@given(PROBLEMS)
@settings(max_examples=300)
def test_it_is_the_front_of_all_choices(problem):
    costs, scores = ([[pair[k] for pair in block] for block in problem] for k in (0, 1))
    total, score, options = best_sums(costs, scores)
    assert list(zip(total, score, strict=True)) == every_front(costs, scores)
    assert options.shape == (len(total), len(problem))
    for row, cost_sum, score_sum in zip(options, total, score, strict=True):
        assert sum(own[i] for own, i in zip(costs, row, strict=True)) == cost_sum
        assert sum(own[i] for own, i in zip(scores, row, strict=True)) == score_sum


@given(st.integers(0, 10**6), st.integers(2, 6))
@settings(max_examples=50)
def test_of_floats_it_is_too(seed, blocks):
    rng = np.random.default_rng(seed)
    costs = [rng.lognormal(size=rng.integers(1, 5)) for _ in range(blocks)]
    scores = [rng.exponential(size=len(own)) for own in costs]
    total, score, _ = best_sums(costs, scores)
    expected = np.array(every_front(costs, scores))
    assert np.allclose(np.column_stack([total, score]), expected, rtol=1e-12)


@pytest.mark.parametrize("most", [2, 3, 10, 50])
def test_thinned_it_keeps_the_ends_and_stays_near(most, monkeypatch):
    rng = np.random.default_rng(0)
    costs, scores = rng.uniform(0.5, 2, (12, 6)), rng.exponential(size=(12, 6))
    exact_total, exact_score, _ = best_sums(costs, scores)
    monkeypatch.setattr(choice, "MAX_KEPT", most)
    total, score, options = best_sums(costs, scores)
    assert len(total) <= most < len(exact_total)
    assert total[[0, -1]] == pytest.approx(exact_total[[0, -1]])
    assert score[[0, -1]] == pytest.approx(exact_score[[0, -1]])
    assert np.all(np.diff(total) > 0)
    assert np.all(np.diff(score) < 0)
    own = np.take_along_axis(costs.T, options, 0).sum(1)
    assert own == pytest.approx(total)
    if most == 50:
        allowed = exact_score[np.searchsorted(exact_total, total, side="right") - 1]
        assert np.all(score <= allowed * 1.5)


def test_a_replacement_that_breaks_the_network_is_not_chosen():
    for broken in (np.inf, np.nan):
        total, score, options = best_sums([[3, 1, 2]] * 2, [[0, broken, 1]] * 2)
        assert (total.tolist(), score.tolist()) == ([4, 5, 6], [2, 1, 0])
        assert options.min() == 0
        assert 1 not in options


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return space_of(NETWORKS["mobilenet_v2"], tmp_path_factory.mktemp("space"), 32, 24)


def macs(row):
    return layers_cost(row.layers)[0]


@pytest.fixture(scope="module")
def ladders(space):
    rng = np.random.default_rng(1)
    found = []
    for side in sides_of(space):
        scores = {
            key: {label: rng.exponential() * i for i, label in enumerate(known)}
            for key, known in replacement_rows(space, side).items()
        }
        found.append((Ladder.of(space, side, scores, macs), scores))
    return found


def test_a_ladder_costs_what_its_networks_do(space, ladders):
    for side, (ladder, scores) in zip(sides_of(space), ladders, strict=True):
        for i in np.linspace(0, len(ladder.ms) - 1, 20).astype(int):
            picks = ladder.picks(int(i))
            assert cost(fill(space, picks)).macs == ladder.ms[i]
            nats = sum(scores[key][picks[key]] for key in scores)
            assert ladder.nats[i] == pytest.approx(nats)
        whole = fill(space, ladder.picks(len(ladder.ms) - 1))
        assert network_id(whole) == network_id(at_resolution(space, side))
        assert ladder.nats[-1] == 0


def test_no_network_beats_a_ladder(space, ladders):
    rng = random.Random(0)
    for ladder, scores in ladders:
        for _ in range(200):
            picks = {key: rng.choice(list(known)) for key, known in scores.items()} | ladder.fixed
            total = cost(fill(space, picks)).macs
            nats = sum(scores[key][picks[key]] for key in scores)
            i = np.searchsorted(ladder.ms, total, side="right") - 1
            assert i >= 0
            assert ladder.nats[i] <= nats + 1e-9


def test_within_gives_the_best_within(space, ladders):
    ladder, _ = ladders[0]
    assert ladder.within(ladder.ms[0] * 0.999) is None
    for i in (0, 5, len(ladder.ms) - 1):
        assert ladder.within(ladder.ms[i]) == ladder.picks(i)
    assert ladder.within(1e12) == ladder.picks(len(ladder.ms) - 1)


def test_evenly_goes_from_the_whole_network_down(space, ladders):
    for ladder, _ in ladders:
        least = ladder.ms[-1] / 4
        found = ladder.evenly(8, least)
        assert 5 <= len(found) <= 8  # one that is the best of two budgets is there once
        assert all(picks.keys() == choices(space).keys() for picks in found)
        totals = [cost(fill(space, picks)).macs for picks in found]
        assert totals == sorted(totals, reverse=True)
        assert totals[0] == ladder.ms[-1]
        assert totals[-1] <= max(least, ladder.ms[0])
        for wanted in np.geomspace(ladder.ms[-1], max(least, ladder.ms[0]), 8):
            assert ladder.within(wanted * (1 + 1e-9)) in found
        assert ladder.evenly(0, least) == []
        assert ladder.evenly(1, least) == found[:1]
        assert len(ladder.evenly(8, 1e15)) == 1  # slower than the whole: that alone
