"""The curve from the sum over a network's rows to the whole: its form, its fit, all who use it."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.inheritance.choice import best_sums
from nas.inheritance.ladder import Ladder
from nas.latency import model
from nas.latency.curve import LEAST, STRAIGHT, Curve, fit_curve, most_bend
from nas.latency.lookup import Lookup
from nas.latency.model import LatencyModel, row_counts
from nas.latency.range import latency_range
from nas.latency.store import LatencySource, open_latencies, saved_table
from nas.latency.table import LatencyTable, MeasurementEffort
from nas.latency.timing import Timing
from nas.report.prices import rows_of
from nas.search.inheriting import budget_ms
from nas.search.problem import Problem
from nas.space.choices import fill
from nas.space.limits import Limits
from nas.space.trellis.trellis import Trellis
from search_spaces.mbconv import mbconv

SPACE = mbconv(
    kernels=(3, 5), acts=("relu",), depths=(0, 1, 3), widths=(0.5, 1.0, 2.0), heads=(160, 320),
    width=0.25, resolution=32, classes=10,
)  # fmt: skip
EFFORT = MeasurementEffort(blocks=80, calibrate=20, validate=40, repeat=2)
BENT = Curve(0.2, 0.05, 2.0)
CALL_MS = 0.01


class Device:
    """A row takes a sum of its counts, a network `curve` of its rows' sum, both with noise."""

    name = "device"

    def __init__(self, curve, noise=0.002):
        self.curve, self.noise, self.rng = curve, noise, np.random.default_rng(3)
        self.per_count = {}

    def row_ms(self, row):
        def of(name):
            if name not in self.per_count:
                self.per_count[name] = 10 ** np.random.default_rng(len(name)).uniform(-8, -7)
            return self.per_count[name] * (1e4 if name.endswith("calls") else 1)

        return sum(of(name) * count for name, count in row_counts(row).items())

    def true_ms(self, rows):
        if not any(row.is_stem for row in rows):
            return sum(map(self.row_ms, rows)) + CALL_MS
        return float(self.curve.whole_ms(np.array(sum(map(self.row_ms, rows)))))

    def measure_rows(self, parts, padding="symmetric", on_timing=None):
        timings = []
        for i, rows in enumerate(parts):
            ms = self.true_ms(rows) * math.exp(self.rng.normal(0, self.noise))
            timings.append(Timing(ms, 0.0, ms, ms, 10, False))
            if on_timing:
                on_timing(i, timings[-1])
        return timings

    def identity(self):
        return {"backend": self.name}

    describe = identity


@pytest.fixture(scope="module")
def trellis():
    return Trellis(SPACE)


def built(trellis, curve, folder):
    return open_latencies(trellis, Device(curve), EFFORT, folder, Console(quiet=True)).source


@pytest.fixture(scope="module")
def bent(trellis, tmp_path_factory):
    """The table of a device whose networks bend, and its folder."""
    folder = tmp_path_factory.mktemp("bent")
    return built(trellis, BENT, folder), folder


@pytest.fixture
def drawn(trellis):
    """Random genomes, and their networks."""
    genomes = trellis.random(200, np.random.default_rng(1))
    return genomes, [fill(SPACE, picks) for picks in trellis.decode(genomes)]


# ---- the form


@st.composite
def curves(draw):
    low, ratio = draw(st.floats(1e-3, 100)), draw(st.floats(1.01, 1e4))
    return Curve(draw(st.floats(-1, 1)) * most_bend(low, low * ratio), low, low * ratio)


SUMS = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=20)


@given(curves(), SUMS)
def test_it_rises_and_its_inverse_leads_back(curve, sums):
    sums = np.sort(sums)
    whole = curve.whole_ms(sums)
    assert curve.sum_ms(whole) == pytest.approx(sums, rel=1e-9)
    assert curve.whole_ms(curve.sum_ms(sums)) == pytest.approx(sums, rel=1e-9)
    assert (np.diff(whole) >= 0).all()
    steps = np.diff(np.log(whole)) / np.maximum(np.diff(np.log(sums)), 1e-9)
    apart = np.diff(np.log(sums)) > 1e-6
    assert (steps[apart] > 0.499).all()
    assert (steps[apart] < 1.501).all()


@given(curves(), SUMS)
def test_one_network_is_as_one_of_many(curve, sums):
    assert [float(curve.whole_ms(np.array(x))) for x in sums] == curve.whole_ms(
        np.array(sums)
    ).tolist()


def test_outside_of_its_range_it_is_straight():
    logs = np.log(BENT.whole_ms(np.array([2.0, 4, 8, 16, 0.01, 0.02, 0.04])))
    assert np.diff(logs[:4]) == pytest.approx(logs[1] - logs[0])
    assert logs[6] - logs[5] == pytest.approx(logs[5] - logs[4])
    assert logs[1] - logs[0] > math.log(2) > logs[5] - logs[4]
    assert BENT.whole_ms(np.zeros(1)) == 0


def test_without_bend_every_figure_stays_the_same_to_the_bit():
    sums = np.random.default_rng(0).uniform(0, 2, 1000)
    assert STRAIGHT.whole_ms(sums) is sums
    assert STRAIGHT.sum_ms(sums) is sums


@pytest.mark.parametrize("odd", [
    (0.3, 1, 2), (-0.3, 1, 2), (math.nan, 1, 2), (math.inf, 1, 2), (0, 2, 1), (0, 0, 1),
    (0, 1, math.inf), (0, math.nan, 1), (0, 1, 1)])  # fmt: skip
def test_what_does_not_rise_is_no_curve(odd):
    with pytest.raises(ValueError, match="a curve must"):
        Curve(*odd)


# ---- the fit


@pytest.mark.parametrize("bend", [-0.2, 0.02, 0.2])
def test_a_bend_is_found_in_spite_of_some_that_are_far_off(bend):
    rng = np.random.default_rng(0)
    sums = np.geomspace(0.02, 0.4, 40)
    true = Curve(bend, 0.02, 0.4)
    whole = true.whole_ms(sums) * np.exp(rng.normal(0, 0.01, 40))
    whole[[3, 39]] *= 1.5
    curve, sure = fit_curve(sums, whole)
    assert sure
    assert curve.bend == pytest.approx(bend, abs=0.01)


def test_it_never_gets_too_steep_and_needs_some_networks():
    sums = np.geomspace(0.02, 0.4, 40)
    off = np.log(sums / 0.1) ** 2
    curve, sure = fit_curve(sums, sums * np.exp(off))
    assert (curve.bend, sure) == (most_bend(0.02, 0.4), True)
    few = sums[:: 40 // LEAST][: LEAST - 1]
    assert fit_curve(few, few * np.exp(few)) == (STRAIGHT, False)
    assert fit_curve(np.ones(20), np.ones(20)) == (STRAIGHT, False)


def test_chance_is_seldom_taken_for_a_bend():
    rng, sums = np.random.default_rng(0), np.geomspace(0.02, 0.4, 40)
    found = [fit_curve(sums, sums * np.exp(rng.normal(0, 0.02, 40))) for _ in range(300)]
    assert np.mean([sure for _, sure in found]) == pytest.approx(0.1, abs=0.05)


def test_a_device_that_bends_is_learnt(bent, trellis, tmp_path, monkeypatch):
    table, _ = bent
    assert table.validation["mape"] < 0.01
    monkeypatch.setattr(model, "fit_curve", lambda sums, whole: (STRAIGHT, False))
    by_sums = built(trellis, BENT, tmp_path)
    assert by_sums.validation["mape"] > 0.03


def test_a_device_that_adds_up_is_a_sum(trellis, tmp_path):
    table = built(trellis, STRAIGHT, tmp_path)
    assert table.validation["mape"] < 0.01
    assert table.model.curve == STRAIGHT
    assert Lookup(str(tmp_path / "table.csv")).curve == STRAIGHT


# ---- tables


def test_a_table_that_was_saved_before_there_were_curves_gives_its_sums(bent, drawn, trellis):
    table, _ = bent
    data = json.loads(json.dumps(table.to_json()))
    del data["model"]["curve"]
    old = LatencyTable.from_json(data)
    genomes, archs = drawn
    sums = trellis.totals(LatencySource(old, None, trellis).row_ms, genomes)
    assert [t.median_ms for t in old.measure_many(archs)] == (sums + old.overhead_ms).tolist()
    assert old.sum_ms(np.array(0.3)) == 0.3 - old.overhead_ms
    assert LatencyTable.from_json(json.loads(json.dumps(old.to_json()))) == old


@pytest.mark.parametrize("odd", [
    None, [], [0, 1, 2], {"bend": 9.0, "low_ms": 1, "high_ms": 2}, {"bend": None}, {"slope": 1},
    {"bend": math.nan}, {"low_ms": "1"}, {"low_ms": 3}])  # fmt: skip
def test_a_damaged_curve_is_named(bent, tmp_path, odd):
    data = bent[0].to_json()
    data["model"]["curve"] = odd
    (tmp_path / "table.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"table\.json is damaged: delete it"):
        saved_table(tmp_path)


def test_every_way_to_a_figure_gives_the_same(bent, drawn, trellis):
    """One by one, all at once, the table as it is read back, and its CSV."""
    table, folder = bent
    genomes, archs = drawn
    ms = [t.median_ms for t in table.measure_many(archs)]
    latencies = LatencySource(table, None, trellis)
    assert table.whole_ms(trellis.totals(latencies.row_ms, genomes)).tolist() == ms
    assert saved_table(folder) == table
    lookup = Lookup(str(folder / "table.csv"))
    assert lookup.curve == table.model.curve
    assert [t.median_ms for t in lookup.measure_many(archs)] == pytest.approx(ms, rel=1e-12)
    assert lookup.sum_ms(np.array(ms)) == pytest.approx(table.sum_ms(np.array(ms)), rel=1e-12)
    reach, read = (latency_range(LatencySource(x, None, trellis)) for x in (table, lookup))
    for found, of_csv in ((reach.fastest, read.fastest), (reach.slowest, read.slowest)):
        (end,) = table.measure_many([fill(SPACE, found[1])])
        assert found[0] == end.median_ms == pytest.approx(of_csv[0], rel=1e-12)
    assert reach.fastest[0] <= min(ms)
    assert reach.slowest[0] >= max(ms)
    assert read.ms == pytest.approx(reach.ms, rel=1e-12)


# ---- who uses them


def test_a_search_allows_exactly_the_networks_that_are_within(bent, drawn, trellis):
    latencies = LatencySource(bent[0], None, trellis)
    genomes, archs = drawn
    ms = np.array([t.median_ms for t in latencies.measure_many(archs)])
    for target in (*np.sort(ms)[[20, 100, 180]].tolist(), 0.3):
        limits = Limits(latency_ms=target)
        problem = Problem(SPACE, 0.25, {}, latencies, None, limits, target, frozenset())
        assert problem.feasible.ms(genomes).tolist() == ms.tolist()
        assert problem.feasible.allows(genomes).tolist() == (ms <= target).tolist()


def test_the_exact_choice_for_a_target_is_the_best_of_all_that_are_within():
    rng = np.random.default_rng(0)
    costs, scores = rng.lognormal(-3, 1, (5, 4)), rng.exponential(size=(5, 4))
    every = np.array(list(itertools.product(range(4), repeat=5)))
    sums, nats = (np.take_along_axis(x.T, every, 0).sum(1) for x in (costs, scores))
    source = LatencyModel({}, 0.02, (1.0, 0.0), BENT)
    ladder = Ladder({}, tuple("abcde"), (tuple(range(4)),) * 5, *best_sums(costs, scores))
    ms = source.whole_ms(sums)
    for target in np.quantile(ms, np.linspace(0.01, 0.99, 30)) * 1.0001:
        latency = SimpleNamespace(source=source)
        run = SimpleNamespace(problem=SimpleNamespace(target_ms=float(target), latency=latency))
        within = np.flatnonzero(ms <= target)
        best = every[within[nats[within].argmin()]]
        assert ladder.within(budget_ms(run)) == dict(zip("abcde", best.tolist(), strict=True))


def test_the_parts_of_a_network_add_up_to_the_whole(bent, drawn):
    table = bent[0]
    for arch, timing in zip(drawn[1], table.measure_many(drawn[1][:9]), strict=False):
        rows, constant = rows_of(arch, timing.median_ms, [table])
        parts = [row[-1] for row in rows]
        assert sum(parts) + constant == pytest.approx(timing.median_ms, rel=1e-12)
        times = [table.row_ms(row) for row in operators(arch)]
        assert parts == pytest.approx(np.array(times) * parts[0] / times[0])
