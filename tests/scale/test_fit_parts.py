"""The parts of the fit: grid, surface, comparison."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from conftest import SHARED, needs_shared
from growth import BASE, macs
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.operators import network_id
from nas.arch.scaling import EFFICIENTNET, Factors, apply, for_resolution, formula
from nas.core.errors import UserError
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.candidates import (
    CostModel,
    kennard_stone,
    near_target,
    rivals,
    rules,
    select_candidates,
)
from nas.scale.fit.comparison import LABELS, Comparison, verdict
from nas.scale.fit.design import design_fit
from nas.scale.fit.grid import Scaler, distinct_networks, effective, grid_values, triples
from nas.scale.fit.journal import CostRatios, open_journal
from nas.scale.fit.optimum import to_equal_cost
from nas.scale.fit.response_surface import Data, fit_surface, quadratic, resampled
from nas.stats.correlation import spearman
from nas.stats.pareto import non_dominated
from search_spaces.lookup import PUBLISHED


def test_the_grid_of_efficientnet_has_108_triples_and_theirs_among_them():
    found = triples(step=0.05, tolerance=0.10)
    assert len(found) == len(set(found)) == 108
    assert EFFICIENTNET in found
    assert len(triples(step=0.1, tolerance=0.10)) == 20
    assert all(abs(a * b**2 * c**2 - 2) < 0.10 for a, b, c in found)


def test_steps_have_no_dust():
    assert grid_values(0.05, 1.0, 2.0)[-1] == 2.0
    assert len(grid_values(0.05, 1.0, 2.0)) == 21
    assert grid_values(0.1, 1.0, 1.25) == [1.0, 1.1, 1.2]


@pytest.fixture
def costs(tmp_path):
    return CostModel(
        CostRatios(BASE, macs, open_journal(tmp_path / "none"), slow=False), [], 0, 2.0
    )


def grid_of(baseline, repeats="ceil", step=0.1):
    return distinct_networks(Scaler(baseline, repeats), grid_values(step, 1.0, 2.0), 1)


@pytest.mark.parametrize("repeats", ["ceil", "nearest"])
def test_rounded_networks_are_distinct_and_none_of_the_grid_is_missing(repeats):
    baseline = for_resolution(PUBLISHED["mobilenet_v2_0.25"], 28)
    nets = grid_of(baseline, repeats, step=0.25)
    ids = {net.id for net in nets}
    assert len(ids) == len(nets)
    values = grid_values(0.25, 1.0, 2.0)
    scaler = Scaler(baseline, repeats)
    everything = {
        network_id(scaler(Factors(d, w, r))) for d in values for w in values for r in values
    }
    assert everything == ids
    for net in nets:
        assert network_id(scaler(Factors(*net.triple))) == net.id


def test_effective_factors_are_those_of_what_was_built():
    grown = apply(BASE, Factors(1.2, 1.5, 1.21))
    x = np.exp(effective(BASE, grown))
    assert x == pytest.approx([18 / 15, 1.5, 1.21])
    assert not effective(BASE, BASE).any()


def near_target_of(nets, costs, phi=1):
    scaler = Scaler(BASE)
    return near_target(nets, costs.estimate(nets), scaler, costs, phi)


def test_candidates_truly_cost_twice_as_much_and_few_widen_the_tolerance(costs):
    nets = near_target_of([net for net in grid_of(BASE) if net.x.any()], costs)
    few, tolerance = select_candidates(nets, costs, tolerance=0.10, min_number=3, soft=False)
    assert tolerance == 0.10
    unit = macs([BASE])[0]
    assert all(abs(macs([net.arch])[0] / unit - 2) < 0.10 for net in few)
    number = len(few) + 1
    more, wider = select_candidates(nets, costs, tolerance=0.01, min_number=number, soft=False)
    assert wider > 0.10
    assert len(more) > len(few)


def test_what_rounding_hides_at_first_shows_further_on(tmp_path):
    """A width of 1.1 leaves 8 channels 8, so that (2, 1.1, 1.1) would cost twice as much."""
    base = for_resolution(PUBLISHED["mobilenet_v3_small_0.35"], 28)
    unit, scaler = macs([base])[0], Scaler(base)
    costs = CostModel(
        CostRatios(base, macs, open_journal(tmp_path / "none"), slow=False), [], 0, 2.0
    )
    nets = [net for net in distinct_networks(scaler, grid_values(0.05, 1.0, 2.0), 1) if net.x.any()]
    hidden = [n for n in nets if macs([n.arch])[0] / unit < 2.1 and min(n.triple) >= 1.1]
    near = near_target(nets, costs.estimate(nets), scaler, costs, 1)
    found, tolerance = select_candidates(near, costs, tolerance=0.15, min_number=1, soft=False)
    for net in found:
        far = macs([scaler(formula(*net.triple, 3))])[0] / unit
        assert net.growth == pytest.approx(far ** (1 / 3))
        assert abs(net.growth - 2) < tolerance == 0.15
    assert max(net.growth for net in near if net.triple in {n.triple for n in hidden}) > 2.5


def test_where_costs_are_slow_growth_is_measured_and_not_guessed(tmp_path):
    def slow(archs):  # multiply-adds with a kink that no quadratic surface follows
        return [value * (1.5 if value > 4 * macs([BASE])[0] else 1) for value in macs(archs)]

    costs = CostRatios(BASE, slow, open_journal(tmp_path / "costs"), slow=True)
    plan = design_fit(Scaler(BASE), costs, FitBudget(costed=40), "latency")
    assert plan.candidates
    for net in plan.candidates:
        far = slow([apply(BASE, formula(*net.triple, 3))])[0] / slow([BASE])[0]
        assert net.growth == pytest.approx(far ** (1 / 3))
        assert abs(net.growth - 2) < plan.tolerance


def test_triples_that_make_the_baseline_too_small_on_the_way_are_no_candidates(tmp_path):
    base = for_resolution(PUBLISHED["mobilenet_v2_0.25"], 28)
    scaler = Scaler(base)
    costs = CostModel(
        CostRatios(base, macs, open_journal(tmp_path / "none"), slow=False), [], 0, 0.5
    )
    nets = [n for n in distinct_networks(scaler, grid_values(0.1, 1.0, 3.0), -1) if n.x.any()]
    found = near_target(nets, costs.estimate(nets), scaler, costs, -1)
    assert found
    assert all(0.25 < net.ratio < 1 and 0 < net.growth < 1 for net in found)


def test_a_grid_that_never_doubles_the_cost_is_refused(tmp_path):
    costs = CostRatios(BASE, macs, open_journal(tmp_path / "none"), slow=False)
    with pytest.raises(UserError, match="no network on the grid costs about 2 times") as error:
        design_fit(Scaler(BASE), costs, FitBudget(high=1.05), "macs")
    assert "raise fit.high" in str(error.value)


def test_rivals_are_asked_for_the_cost_that_they_truly_have(costs):
    scaler = Scaler(BASE)
    found = rivals(scaler, costs, rules((1.3, 1.1, 1.15)), 2.0)
    assert list(found)[:2] == ["fitted", "efficientnet"]
    assert all(1.85 < net.ratio < 2.15 for net in found.values())
    assert found["efficientnet"].triple == pytest.approx(EFFICIENTNET)
    depth = found["depth"].arch
    assert depth.resolution == BASE.resolution
    assert [s.width for s in depth.stages] == [s.width for s in BASE.stages]
    assert depth.stages[0].depth > BASE.stages[0].depth


def test_a_spread_takes_the_corners_first():
    points = [np.array(p, float) for p in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5))]
    assert kennard_stone(points, 5)[0] == 4
    assert set(kennard_stone(points, 3, [np.array([0.0, 0.0])])[:1]) == {3}
    assert sorted(kennard_stone(points, 99)) == [0, 1, 2, 3, 4]
    assert kennard_stone([], 3) == []


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_a_surface_finds_what_is_quadratic_and_drops_what_blocks_add(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 3))
    terms, blocks = rng.normal(size=9), rng.integers(3, size=40)
    blocks[:3] = range(3)
    y = quadratic(x) @ terms + np.array([0.0, 5.0, -3.0])[blocks]
    surface = fit_surface(Data(x, y, np.arange(40), blocks))
    assert surface.terms == pytest.approx(terms, abs=1e-3)
    assert surface.levels - surface.levels[0] == pytest.approx([0, 5, -3], abs=1e-3)
    assert surface.r2 > 0.9999
    new = rng.normal(size=(5, 3))
    level = surface.levels.mean()
    assert surface(new) == pytest.approx(quadratic(new) @ terms + level, abs=1e-2)


def test_noise_is_shrunk_and_not_followed():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(14, 3)), rng.normal(size=14)
    surface = fit_surface(Data.of(x, y))
    assert surface.ridge >= 0.03
    assert surface.r2 < 0.9


def test_resampled_surfaces_spread_as_the_estimate_does():
    rng = np.random.default_rng(1)
    x, truth = rng.normal(size=(60, 1)), np.array([0.5, 0.2])
    ends = []
    for _ in range(40):
        y = quadratic(x) @ truth + 0.3 * rng.normal(size=60)
        data = Data.of(x, y)
        drawn = [t[0] for t in resampled(data, fit_surface(data), np.zeros(60, int), 200, rng)]
        ends.append(np.quantile(drawn, [0.025, 0.975]))
    held = np.mean([low <= truth[0] <= high for low, high in ends])
    assert held >= 0.85


def published_grid() -> dict[str, np.ndarray]:
    """MobileNetV2's 22 published widths and resolutions."""
    with (SHARED / "data" / "mobilenet_scaling_grid.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["family"] == "mobilenet_v2"]
    names = ("width", "resolution", "macs_M", "top1", "pixel1_ms")
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


@needs_shared
def test_the_surface_explains_the_published_grid_of_mobilenet_v2():
    grid = published_grid()
    assert len(grid["top1"]) == 22
    x = np.log(np.column_stack((grid["width"], grid["resolution"] / 224)))
    surface = fit_surface(Data.of(x, np.log(100 - grid["top1"])))
    assert surface.r2 >= 0.99
    assert math.expm1(surface.loo) < 0.03


@needs_shared
@pytest.mark.parametrize(
    ("column", "expected"), [("macs_M", (1.62, 2.00)), ("pixel1_ms", (1.40, 1.74))]
)
def test_costs_of_the_published_grid_grow_by_known_exponents(column, expected):
    grid = published_grid()
    x = np.log(np.column_stack((grid["width"], grid["resolution"] / 224, np.full(22, math.e))))
    slopes = np.linalg.lstsq(x, np.log(grid[column]), rcond=None)[0][:2]
    assert slopes == pytest.approx(expected, abs=0.01)


@needs_shared
def test_mobilenet_v2_at_1_and_224_is_on_the_published_latency_front():
    grid = published_grid()
    front = non_dominated(np.column_stack((grid["top1"], grid["pixel1_ms"])), (True, False))
    points = set(zip(grid["width"][front], grid["resolution"][front], strict=True))
    assert points >= {(1.0, 224.0), (1.4, 224.0)}
    assert (0.35, 224.0) not in points
    assert spearman(grid["top1"], grid["pixel1_ms"]) > 0.9


def losses(levels, noise, num_seeds, seed=0):
    rng = np.random.default_rng(seed)
    luck = rng.normal(size=num_seeds)
    return {
        name: {s: level + luck[s] + noise * rng.normal() for s in range(num_seeds)}
        for name, level in levels.items()
    }


def test_seeds_that_are_shared_drop_out_of_differences():
    found = Comparison(losses({"fitted": 0.0, "depth": 0.1, "width": 0.0}, 1e-3, 3))
    gap = found.over("depth", "fitted", 2)
    assert gap.value == pytest.approx(0.1, abs=0.01)
    assert 0.05 < gap.low < gap.value < gap.high < 0.15


def test_missing_cells_are_no_advantage():
    cells = losses({"fitted": 0.0, "depth": 0.0, "width": 0.0}, 1e-6, 4)
    del cells["fitted"][0], cells["width"][2]
    found = Comparison(cells)
    assert found.over("depth", "fitted", 2).value == pytest.approx(0, abs=1e-5)
    assert found.over("width", "fitted", 2).value == pytest.approx(0, abs=1e-5)


def test_intervals_hold_the_truth_for_all_comparisons_at_once():
    names = ["fitted", "depth", "width", "resolution", "dwr"]
    held = 0
    for seed in range(100):
        found = Comparison(losses(dict.fromkeys(names, 0.0), 0.1, 3, seed))
        gaps = [found.over(name, "fitted", 4) for name in names[1:]]
        held += all(gap.low <= 0 <= gap.high for gap in gaps)
    assert held >= 90


RATIOS = {"fitted": 2.05, "depth": 1.95, "width": 2.0}


def test_the_verdict_names_the_better_the_even_and_the_cheapest():
    tell = Comparison(losses({"fitted": 0.0, "depth": 0.3, "width": 0.0}, 0.01, 3))
    words = verdict(tell, RATIOS, {"uniform": "fitted"})
    assert words.startswith("the fitted triple is better than depth alone; these data do not tell")
    assert words.endswith("width alone did best, and nothing cheaper is as good (2.00 times)")
    beaten = Comparison(losses({"fitted": 0.3, "depth": 0.0, "width": 0.3}, 0.01, 3))
    words = verdict(beaten, RATIOS, {})
    assert words.startswith("depth alone is better than the fitted triple")
    assert words.endswith("depth alone did best, and nothing cheaper is as good (1.95 times)")
    even = Comparison(losses({"fitted": 0.1, "depth": 0.1, "width": 0.0}, 0.2, 3))
    words = verdict(even, RATIOS, {})
    best = min(even.names, key=lambda name: even.level[name])
    assert LABELS[best] + " did best" in words
    assert "the cheapest that is not shown to be worse is depth alone (1.95 times" in words
    same = verdict(Comparison(losses({"fitted": 0.0}, 0.1, 3)), RATIOS, {"depth": "fitted"})
    assert "nothing to tell apart" in same
    lost = verdict(Comparison({"fitted": {}, "depth": {0: 1.0}}), RATIOS, {})
    assert "nothing is confirmed" in lost


def test_twins_are_named_once():
    alike = Comparison(losses({"fitted": 0.0, "depth": 0.0}, 0.1, 3))
    words = verdict(alike, RATIOS, {"uniform": "fitted", "dwr": "depth"})
    assert "the fitted triple (= uniform) and depth alone (= dWr)" in words


def test_losses_are_moved_along_each_networks_own_power_law():
    slopes, ratios = np.array([-0.25, -0.05, -0.2, 0.1, -0.3]), np.array([1.8, 2.3, 2.0, 1.8, 1.3])
    drops = slopes * np.log(ratios)
    moved = drops + to_equal_cost(drops, ratios, 2.0)
    assert moved[:3] == pytest.approx(slopes[:3] * math.log(2))
    assert moved[3:] == pytest.approx(drops[3:])  # it grew worse; it hardly grew
    shrunk = np.array([0.2, -0.1]) * -np.log([0.45, 0.45])
    assert shrunk + to_equal_cost(shrunk, np.array([0.45, 0.45]), 0.5) == pytest.approx(
        [0.2 * math.log(2), -0.1 * -math.log(0.45)]
    )
