"""Which image goes to which split: evenly, by a hash of its name, groups whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.core.errors import UserError
from nas.data.splits import (
    TEST,
    TRAIN,
    UNSPLIT,
    VAL,
    by_hash,
    regroup,
    stratified_choice,
    unit_hash,
)

PLACES = (VAL, TEST, TRAIN)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_spread_is_as_even_as_can_be(labels: list[int], data: st.DataObject) -> None:
    numbers = np.array(labels)
    wanted = data.draw(st.integers(1, len(labels)))
    order = np.random.default_rng(0).random(len(labels))
    chosen = stratified_choice(numbers, wanted, order)
    assert len(set(chosen.tolist())) == wanted
    got = np.bincount(numbers[chosen], minlength=5)
    there = np.bincount(numbers, minlength=5)
    for label in range(5):  # a class with fewer than another one has none left
        assert got[label] >= got.max() - 1 or got[label] == there[label]
    more = stratified_choice(numbers, min(wanted + 1, len(labels)), order)
    assert set(chosen.tolist()) <= set(more.tolist())


@settings(max_examples=30)
@given(st.integers(40, 120), st.integers(0, 5), st.text(min_size=1, max_size=8))
def test_a_new_image_moves_no_other(number: int, seed: int, new: str) -> None:
    names = [f"a/{i}.png" for i in range(number)]

    def dealt(names: list[str]) -> np.ndarray:
        part = np.full(len(names), UNSPLIT)
        place = unit_hash(names, f"split {seed}")
        return by_hash(part, np.zeros_like(part), ["a"], place, {TEST: 0.2, VAL: 0.2})

    before = dealt(names)
    assert set(before) == set(PLACES)
    assert dealt([*names, f"a/new{new}.png"])[:-1].tolist() == before.tolist()


@given(st.integers(3, 12), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_a_small_class_is_in_every_split(number: int, val: float, test: float) -> None:
    names = [str(i) for i in range(number)]
    part = np.full(number, UNSPLIT)
    labels = np.zeros_like(part)
    found = by_hash(part, labels, ["a"], unit_hash(names, ""), {TEST: test, VAL: val})
    assert set(found.tolist()) == set(PLACES)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=30), st.integers(0, 99))
def test_groups_are_whole_or_refused(images: list[tuple[int, int]], seed: int) -> None:
    labels, groups = np.array(images).T
    part, classes = np.full(len(labels), UNSPLIT), ["a", "b", "c"]
    place = unit_hash([str(g) for g in groups], str(seed))
    try:
        dealt = by_hash(part, labels, classes, place, {TEST: 0.15, VAL: 0.15})
        found = regroup(dealt, part, labels, classes, place)
    except UserError:
        return  # too few groups
    assert all(len(set(found[groups == g])) == 1 for g in groups)
    for label in set(labels):
        assert set(found[labels == label]) == set(PLACES)


def test_groups_that_rob_a_class_of_a_split_are_refused() -> None:
    labels, place = np.array([0, 0, 0, 1, 1, 1]), np.array([0.4, 0.6, 0.8, 0.8, 0.85, 0.9])
    part = np.full(6, UNSPLIT)  # in class b the group at 0.8 is the first, in class a the last
    dealt = by_hash(part, labels, ["a", "b"], place, {TEST: 0.15, VAL: 0.15})
    with pytest.raises(UserError, match="class 'a' has no group of images left for train"):
        regroup(dealt, part, labels, ["a", "b"], place)
