"""How times are taken, with clocks of our own making; backends are in test_backends.py."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable

import numpy as np
import pytest
from fake_machine import MS, Machine
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from nas.latency import timing
from nas.latency.backends import device_info
from nas.latency.backends.device_info import describe_device, device_identity
from nas.latency.timing import (
    REFRESH,
    Repeated,
    Timing,
    measure,
    median_interval,
    waiting_clock,
)


def one(cost: Callable[[], int], machine: Machine | None = None, **options: object) -> Timing:
    machine = machine or Machine()
    return machine.measure({"a": machine.call("a", cost)}, **options)["a"]


def test_a_steady_call():
    found = one(lambda: 2 * MS, min_rounds=12)
    # visits of 5 ms hold three runs of 2 ms
    assert found == Timing(2.0, 0.0, 2.0, 2.0, runs=36, noisy=False)


def test_nothing_to_time():
    assert measure({}) == {}


def test_warm_up_does_not_count():
    costs = iter([900 * MS, 50 * MS, *[MS] * 1000])
    found = one(lambda: next(costs), warmup=3)
    assert (found.median_ms, found.ci_high_ms, found.iqr_ms) == (1, 1, 0)


def test_fast_calls_are_timed_in_batches():
    machine = Machine()
    found = one(lambda: 1000, machine, min_rounds=6, warmup=5)
    assert found.median_ms == pytest.approx(0.001)
    # 100 batches of 50 calls a visit; every timed call is in the log, after the warm-up and a batch
    assert found.runs == 6 * 100 * 50 == len(machine.log) - 5 - 50


@pytest.mark.parametrize("n", range(1, 6))
def test_under_six_samples_the_extremes_bound_the_median(n):
    assert median_interval(n) == (0, n - 1)


@pytest.mark.parametrize("n", [*range(6, 80), 100, 357, 1000])
def test_the_interval_covers_the_median_with_95_percent(n):
    low, high = median_interval(n)

    def coverage(low: int, high: int) -> float:
        # P(low < X <= high) of X samples below the median
        return float(binom.cdf(high, n, 0.5) - binom.cdf(low, n, 0.5))

    assert high == n - 1 - low
    assert coverage(low, high) >= 0.95
    if low + 1 <= high - 1:
        assert coverage(low + 1, high - 1) < 0.95


def test_repeats_until_the_median_is_known():
    rng = random.Random(0)
    costs = [MS, *[int(rng.gauss(10, 0.5) * MS) for _ in range(10_000)]]

    def runs(rel_ci: float) -> Timing:
        left = iter(costs)
        return one(lambda: next(left), rel_ci=rel_ci, warmup=1, max_seconds=1e9)

    loose, tight = runs(0.05), runs(0.005)
    assert not loose.noisy
    assert not tight.noisy
    assert loose.runs < tight.runs
    for found, rel_ci in ((loose, 0.05), (tight, 0.005)):
        assert found.ci_low_ms <= found.median_ms <= found.ci_high_ms
        assert found.ci_high_ms - found.ci_low_ms <= 2 * rel_ci * found.median_ms
    assert tight.ci_low_ms < 10 < tight.ci_high_ms
    # quartiles of a normal lie 1.349 standard deviations apart
    assert tight.iqr_ms == pytest.approx(1.349 * 0.5, rel=0.2)


def two_speeds() -> Callable[[], int]:
    left = iter(10 * MS if i % 2 else 20 * MS for i in range(100_000))
    return lambda: next(left)


def test_what_stays_uncertain_is_flagged_at_either_bound():
    by_time = one(two_speeds(), max_seconds=0.9, min_rounds=6)
    assert by_time.noisy
    assert by_time.runs == 60  # pairs of 30 ms; 0.9 s hold 30 of them
    by_rounds = one(two_speeds(), max_rounds=20)
    assert by_rounds.noisy
    assert by_rounds.runs == 20
    assert one(lambda: MS, max_rounds=5).noisy  # five samples bound no median with 95 %


def test_min_rounds_are_made_however_long_they_take():
    found = one(lambda: 1000 * MS, max_seconds=0.1, min_rounds=8)
    assert (found.runs, found.noisy) == (8, False)


def test_time_without_a_core_does_not_count():
    machine = Machine()
    turns = iter(range(100_000))

    def cost() -> int:
        wait = 9 * MS if next(turns) % 3 > 0 else 0
        machine.waited += wait
        return 2 * MS + wait

    found = one(cost, machine)
    assert found == Timing(2.0, 0.0, 2.0, 2.0, found.runs, noisy=False)


def test_a_wait_never_makes_a_time_negative():
    machine = Machine()

    def cost() -> int:  # the two clocks of a system may differ a little
        machine.waited += 6 * MS
        return 5 * MS

    assert one(cost, machine).median_ms == 0


def visits(log: list[str], warmup: int) -> list[str]:
    """The log after the warm-up, with calls of 5 ms or more: REFRESH + 1 a visit."""
    turns = log[warmup:]
    assert all(len(set(turns[i : i + REFRESH + 1])) == 1 for i in range(0, len(turns), REFRESH + 1))
    return turns[:: REFRESH + 1]


def test_calls_take_turns_in_random_order():
    def order(seed: int) -> list[tuple[str, ...]]:
        machine = Machine()
        calls = {name: machine.call(name, lambda: 5 * MS) for name in "abcd"}
        machine.measure(calls, warmup=1, min_rounds=10, seed=seed)
        turns = visits(machine.log, warmup=4)
        return [tuple(turns[i : i + 4]) for i in range(0, 40, 4)]

    rounds = order(0)
    assert all(sorted(turn) == list("abcd") for turn in rounds)
    assert len(set(rounds)) > 5
    assert rounds == order(0) != order(1)


def test_what_slows_the_machine_for_a_while_slows_all_alike():
    machine = Machine()

    def cost() -> int:  # half as fast after a quarter of a second
        return 5 * MS if machine.now < 250 * MS else 10 * MS

    calls = {name: machine.call(name, cost) for name in "ab"}
    options = {"min_rounds": 40, "max_rounds": 40, "warmup": 1}
    together = machine.measure(calls, **options)
    assert {t.median_ms for t in together.values()} == {10}
    machine.now = 0  # one after the other, equal calls would seem to differ
    alone = [machine.measure({name: calls[name]}, **options)[name].median_ms for name in "ab"]
    assert alone == [5, 10]


def test_the_cold_start_after_others_does_not_count():
    machine = Machine()

    def cost() -> int:
        cold = len(machine.log) < 2 or machine.log[-2] != machine.log[-1]
        return 9 * MS if cold else 2 * MS

    found = machine.measure({name: machine.call(name, cost) for name in "abc"})
    assert [t.median_ms for t in found.values()] == [2, 2, 2]


def test_a_call_that_is_done_waits_for_no_other():
    machine = Machine()
    calls = {"steady": machine.call("steady", lambda: 5 * MS),
             "wild": machine.call("wild", two_speeds())}  # fmt: skip
    found = machine.measure(calls, min_rounds=6, max_seconds=3.0)
    assert found["steady"].runs == 6
    assert found["wild"].runs > 6
    assert not found["steady"].noisy
    assert found["wild"].noisy


@given(st.lists(st.integers(5 * MS, 50 * MS), min_size=13, max_size=40))
def test_the_figures_are_those_of_the_runs(costs):
    left = iter([5 * MS, *costs])
    found = one(lambda: next(left), warmup=1, min_rounds=len(costs), max_rounds=len(costs))
    assert found.median_ms == pytest.approx(np.median(costs) / MS)
    low, high = median_interval(len(costs))
    assert found.ci_low_ms == pytest.approx(sorted(costs)[low] / MS)
    assert found.ci_high_ms == pytest.approx(sorted(costs)[high] / MS)
    assert found.runs == len(costs)
    assert found.noisy == (found.ci_high_ms - found.ci_low_ms > 0.02 * found.median_ms)


@pytest.fixture
def _garbage_collection():
    enabled = gc.isenabled()
    yield
    (gc.enable if enabled else gc.disable)()


@pytest.mark.usefixtures("_garbage_collection")
@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_rests_meanwhile(enabled):
    (gc.enable if enabled else gc.disable)()
    seen = set()

    def cost() -> int:
        seen.add(gc.isenabled())
        return MS

    one(cost)
    assert seen == {False}
    assert gc.isenabled() == enabled


@pytest.mark.usefixtures("_garbage_collection")
def test_a_call_that_fails_leaves_no_trace():
    gc.enable()

    def fail() -> int:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        one(fail)
    assert gc.isenabled()


def test_the_real_clocks():
    found = measure({"sum": lambda: sum(range(1000))}, min_rounds=6, max_rounds=6)["sum"]
    assert found.runs > 6
    assert 0 < found.ci_low_ms <= found.median_ms <= found.ci_high_ms
    with waiting_clock() as waited:
        assert 0 <= waited() <= waited()


def test_a_system_that_does_not_tell_how_long_it_let_one_wait(monkeypatch):
    def refuse(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(timing.os, "open", refuse)
    with waiting_clock() as waited:
        assert waited() == 0


def test_the_device_is_described_in_plain_data():
    device = describe_device()
    assert json.loads(json.dumps(device)) == device
    assert device["cores"] >= 1
    assert device["versions"]["onnxruntime"]
    assert device_info._read("/no/such/file") is None
    assert device_info.version("no-such-package") is None
    assert device_identity().items() <= (device | {"affinity": len(device["affinity"])}).items()


def test_one_call_can_keep_the_others_company_throughout():
    machine = Machine()
    calls = {"steady": machine.call("steady", lambda: 5 * MS),
             "wild": machine.call("wild", two_speeds())}  # fmt: skip
    found = machine.measure(calls, min_rounds=6, max_seconds=3.0, throughout="steady")
    assert found["steady"].runs == found["wild"].runs > 6
    alone = machine.measure({"steady": calls["steady"]}, min_rounds=6, throughout="steady")
    assert alone["steady"].runs == 6


def test_the_size_of_a_batch_can_be_told():
    found = one(lambda: 1000, min_rounds=6, batch_ns=500_000)
    assert found.runs == 6 * 10 * 500


@pytest.mark.parametrize("us", [3, 8, 15, 30, 100, 300, 2000])
def test_what_a_reading_of_the_clock_costs_is_no_part_of_a_call(us):
    """As on a GPU, which idles from one reading until the host launches again."""
    machine, draws = Machine(), random.Random(0)

    def clock() -> int:
        machine.now += draws.randint(12_000, 20_000)
        return machine.now

    call = machine.call("a", lambda: us * 1000)
    found = measure({"a": call}, clock=clock, waited=lambda: 0, batch_ns=500_000)["a"]
    assert found.median_ms == pytest.approx(us / 1000, rel=0.01)


def test_a_call_may_be_several():
    machine = Machine()
    alone = machine.measure({"a": machine.call("a", lambda: 1000)}, min_rounds=6)["a"]
    ten = Repeated(machine.call("ten", lambda: 10_000), times=10)
    assert machine.measure({"ten": ten}, min_rounds=6)["ten"] == alone
