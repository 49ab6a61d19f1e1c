import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.core.errors import UserError
from nas.stats.pareto import best_under, hypervolume, knee, non_dominated

MACRO = Path(__file__).parents[3] / "shared" / "data" / "nas_bench_macro.csv.gz"

# A coarse grid, so that copies and ties in one objective are common; some rows are failures.
coordinate = st.one_of(st.integers(0, 6).map(float), st.sampled_from([np.nan, np.inf, -np.inf]))


def clouds(objectives: int):
    return st.integers(0, 14).flatmap(lambda n: arrays(float, (n, objectives), elements=coordinate))


two_or_three = st.integers(2, 3).flatmap(
    lambda d: st.tuples(clouds(d), st.tuples(*[st.booleans()] * d))
)


def signed(points, maximize):
    return np.where(maximize, points, -points)


@given(two_or_three)
def test_front_is_that_of_brute_force(case):
    points, maximize = case
    gains = signed(points, maximize)
    finite = [bool(np.isfinite(row).all()) for row in points]
    expected = [
        finite[i]
        and not any(
            finite[j] and (gains[j] >= gains[i]).all() and (gains[j] > gains[i]).any()
            for j in range(len(points))
        )
        for i in range(len(points))
    ]
    assert non_dominated(points, maximize).tolist() == expected


@given(two_or_three, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(case, random):
    points, maximize = case
    order = list(range(len(points)))
    random.shuffle(order)
    reference = np.where(maximize, -1.0, 7.0)
    assert (non_dominated(points[order], maximize) == non_dominated(points, maximize)[order]).all()
    assert hypervolume(points[order], reference, maximize) == pytest.approx(
        hypervolume(points, reference, maximize)
    )


@given(two_or_three)
def test_hypervolume_counts_the_dominated_cells(case):
    """On an integer grid the volume is the number of unit cells that some point dominates."""
    points, maximize = case
    reference = np.where(maximize, 1.0, 5.0)
    gains, worst = signed(points, maximize), signed(reference, maximize)
    gains = gains[np.isfinite(gains).all(axis=1)]
    cells = np.stack(np.meshgrid(*[np.arange(-8, 8)] * len(maximize)), axis=-1)
    cells = cells.reshape(-1, len(maximize))  # [cells, objectives], each by its lower corner
    covered = (cells[:, None] + 1 <= gains[None]).all(axis=2).any(axis=1)
    assert hypervolume(points, reference, maximize) == pytest.approx(
        int((covered & (cells >= worst).all(axis=1)).sum())
    )


@given(two_or_three)
def test_hypervolume_grows_with_points_and_needs_only_the_front(case):
    points, maximize = case
    reference = np.where(maximize, -1.0, 7.0)
    volumes = [hypervolume(points[:n], reference, maximize) for n in range(len(points) + 1)]
    assert volumes[0] == 0
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(volumes))
    front = points[non_dominated(points, maximize)]
    assert hypervolume(front, reference, maximize) == pytest.approx(volumes[-1])


@given(clouds(2), st.integers(-1, 7))
def test_best_under_is_that_of_brute_force(points, limit):
    values, costs = points.T
    allowed = [i for i in range(len(points)) if np.isfinite(points[i]).all() and costs[i] <= limit]
    expected = min(allowed, key=lambda i: (-values[i], costs[i], i), default=None)
    assert best_under(values, costs, limit) == expected


@given(clouds(2), st.floats(0.1, 10), st.floats(-5, 5))
def test_knee_is_on_the_front_and_does_not_see_units(points, scale, shift):
    values, costs = points.T
    chosen = knee(values, costs)
    front = non_dominated(points, (True, False))
    assert chosen is None if not front.any() else front[chosen]
    if chosen is None:
        return
    v, c = values[front], costs[front]
    span = np.array([np.ptp(v) or 1, np.ptp(c) or 1])

    def height(i):
        return (values[i] - v.min()) / span[0] - (costs[i] - c.min()) / span[1]

    rescaled = knee(values * scale + shift, costs)
    assert rescaled is not None
    best = max(height(i) for i in np.flatnonzero(front))
    assert height(chosen) == pytest.approx(best)
    assert height(rescaled) == pytest.approx(best)


def test_knee_of_a_bent_a_straight_and_a_sagging_front():
    assert knee([0.5, 0.8, 0.85, 0.9, 0.1], [1, 2, 5, 9, 3]) == 1
    assert knee([0, 1], [0, 1]) == 0
    assert knee([0.0, 0.1, 1.0], [0.0, 5.0, 10.0]) == 0  # no bulge: the cheapest
    assert knee([], []) is None
    assert knee([np.nan], [1.0]) is None


def test_all_copies_of_a_front_point_are_kept():
    points = [[1, 1], [2, 2], [1, 1], [3, 1]]
    assert non_dominated(points, (False, True)).tolist() == [True, True, True, False]


def test_hypervolume_of_one_box_and_in_one_objective():
    assert hypervolume([[2.0, 3.0]], [5.0, 1.0], (False, True)) == 6.0
    assert hypervolume([[5.0, 3.0]], [5.0, 1.0], (False, True)) == 0.0
    assert hypervolume([[4.0], [7.0]], [1.0], (True,)) == 6.0
    assert hypervolume([], [5.0, 1.0], (False, True)) == 0.0


def test_shapes_that_disagree_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"shape \(2, 3\) do not fit 2 objectives") as caught:
        non_dominated(np.zeros((2, 3)), (True, False))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="3 objectives"):
        hypervolume(np.zeros((2, 3)), [0.0, 0.0], (True, False, True))


@pytest.mark.skipif(not MACRO.exists(), reason="needs ../shared/data, which users do not have")
def test_front_and_hypervolume_of_nas_bench_macro():
    with gzip.open(MACRO, "rt") as file:
        names = file.readline().strip().split(",")
        rows = [line.strip().split(",") for line in file]
    accuracy, macs, params = (
        np.array([float(row[names.index(column)]) for row in rows])
        for column in ("mean_acc", "flops", "params")
    )
    points = np.column_stack((macs / 1e6, accuracy))
    front = non_dominated(points, (False, True))
    networks = {(macs[i], params[i], accuracy[i]) for i in np.flatnonzero(front)}
    assert len(rows) == 6561
    assert len(networks) == 35
    assert hypervolume(points, [105.660928, 80.0], (False, True)) == pytest.approx(
        1019.325, abs=5e-4
    )
    best = best_under(accuracy, macs, np.inf)
    assert front[best]
    assert accuracy[best] == 93.1267
    assert rows[best][names.index("arch")] in {"22212220", "22212202"}  # one network, two codes
