"""How times are taken (with clocks of our own making), and the contract of every backend."""

from __future__ import annotations

import gc
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy.stats import binom

from nas.arch import Arch, Block, Head, Stage, Stem
from nas.blocks import network_id
from nas.errors import UserError
from nas.latency import measure as timing
from nas.latency import ort
from nas.latency.measure import (
    REFRESH,
    Backend,
    Timing,
    describe_device,
    measure,
    median_interval,
    waiting_clock,
)
from nas.latency.ort import OnnxRuntime
from nas.latency.recorded import Recorded

MS = 1_000_000
CONF = Path(__file__).parents[1] / "conf" / "latency"


class Machine:
    """A machine whose clock moves only as told: every call takes what its `cost` says."""

    def __init__(self) -> None:
        self.now = 0
        self.waited = 0
        self.log: list[str] = []

    def clock(self) -> int:
        return self.now

    def call(self, name: str, cost: Callable[[], int]) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            self.now += cost()

        return run

    def measure(self, calls: dict[str, Callable[[], None]], **options: object) -> dict[str, Timing]:
        return measure(calls, clock=self.clock, waited=lambda: self.waited, **options)  # type: ignore[arg-type]


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
    # 100 batches of 50 calls a visit; every timed call is in the log, after the warm-up
    assert found.runs == 6 * 100 * 50 == len(machine.log) - 5


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
    assert timing._read("/no/such/file") is None
    assert timing._version("no-such-package") is None


# ---- the contract of every backend

NETS = [
    Arch((Stage(width, blocks=Block(se=0.25)),), Stem(8), Head(16), 16, classes=5)
    for width in (8, 16, 24)
]


def write_csv(path: Path, latencies: dict[str, object]) -> Path:
    lines = [f"{i},{key},{ms},0.5" for i, (key, ms) in enumerate(latencies.items())]
    path.write_text("\n".join(["number,id,latency_ms,accuracy", *lines]) + "\n")
    return path


@pytest.fixture(params=["onnxruntime", "recorded"])
def backend(request, tmp_path) -> Backend:
    config = OmegaConf.load(CONF / f"{request.param}.yaml")
    if request.param == "onnxruntime":
        return instantiate(config, min_rounds=6, max_rounds=6)
    known = {network_id(arch): 0.1 * (i + 1) for i, arch in enumerate(NETS)}
    return instantiate(config, path=str(write_csv(tmp_path / "trials.csv", known)))


def test_contract_one_timing_a_network(backend):
    found = backend.measure_many([*NETS, NETS[0]])
    assert len(found) == 4
    for t in [*found, backend.measure(NETS[1])]:
        assert 0 < t.ci_low_ms <= t.median_ms <= t.ci_high_ms < math.inf
        assert t.iqr_ms >= 0
        assert t.runs >= 0
        assert isinstance(t.noisy, bool)


def test_contract_nothing_to_measure(backend):
    assert backend.measure_many([]) == []


def test_contract_describes_itself_in_plain_data(backend):
    facts = backend.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["backend"] == backend.name


def test_contract_the_file_in_conf_has_its_name(backend):
    assert (CONF / f"{backend.name}.yaml").exists()


def test_contract_a_network_that_cannot_be_built_is_the_users_mistake(backend):
    with pytest.raises(UserError, match="resolution 1 is too small"):
        backend.measure(replace(NETS[0], resolution=1))


def test_contract_leaves_the_process_as_it_was(backend):
    before = gc.isenabled(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    backend.measure_many(NETS)
    after = gc.isenabled(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert before == after


# ---- each by itself


def test_the_settings_in_conf_are_the_defaults():
    assert instantiate(OmegaConf.load(CONF / "onnxruntime.yaml")) == OnnxRuntime()


def test_what_was_measured_is_what_is_recorded(tmp_path):
    measured = OnnxRuntime(min_rounds=1, max_rounds=1).measure_many(NETS)
    known = {network_id(a): t.median_ms for a, t in zip(NETS, measured, strict=True)}
    recorded = Recorded(str(write_csv(tmp_path / "trials.csv", known)))
    assert [t.median_ms for t in recorded.measure_many(NETS)] == [t.median_ms for t in measured]


def test_order_is_kept_where_more_networks_come_than_are_held_together(monkeypatch):
    def classes(calls: dict[int, Callable[[], list[np.ndarray]]], **_: object) -> dict[int, Timing]:
        assert len(calls) <= 2
        counts = {key: float(call()[0].shape[1]) for key, call in calls.items()}
        return {key: Timing(n, 0.0, n, n, 1, False) for key, n in reversed(counts.items())}

    monkeypatch.setattr(ort, "measure", classes)
    nets = [replace(NETS[0], classes=n) for n in (9, 3, 7, 5, 4)]
    assert [t.median_ms for t in OnnxRuntime(together=2).measure_many(nets)] == [9, 3, 7, 5, 4]
    assert OnnxRuntime().measure(nets[2]).median_ms == 7


def test_recorded_times_in_order(tmp_path):
    known = {network_id(arch): 1.5 + i for i, arch in enumerate(NETS)}
    recorded = Recorded(str(write_csv(tmp_path / "t.csv", known)))
    assert [t.median_ms for t in recorded.measure_many(NETS[::-1])] == [3.5, 2.5, 1.5]


@pytest.mark.parametrize(
    "options",
    [{"threads": -1}, {"together": 0}, {"min_rounds": 0}, {"rel_ci": 0}, {"max_seconds": -1},
     {"max_seconds": math.nan}, {"max_rounds": 0}, {"warmup": 0}],
)  # fmt: skip
def test_settings_out_of_range(options):
    with pytest.raises(UserError, match=next(iter(options))):
        OnnxRuntime(**options)


def test_threads_and_spinning_reach_the_session():
    options = OnnxRuntime(threads=2, spinning=True)._options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert OnnxRuntime().describe()["threads"] == 1


def test_a_network_without_a_recorded_latency_is_named(tmp_path):
    known = Recorded(str(write_csv(tmp_path / "t.csv", {network_id(NETS[0]): 1.5})))
    with pytest.raises(UserError, match=f"network {network_id(NETS[1])} .*mbconv_k3.* among its 1"):
        known.measure(NETS[1])


def test_rows_without_a_latency_are_passed_over_and_the_last_counts(tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text("\ufeffid,latency_ms\na,1\nb,\nc\na,2.5\n", encoding="utf-8")
    assert Recorded(str(path)).latencies == {"a": 2.5}


@pytest.mark.parametrize("bad", ["fast", "nan", "inf", "0", "-1"])
def test_a_latency_that_is_none_is_refused_with_its_line(tmp_path, bad):
    path = write_csv(tmp_path / "t.csv", {"a": 1.0, "b": bad})
    with pytest.raises(UserError, match=rf"line 3: latency_ms .* not '{bad}'"):
        Recorded(str(path))


def test_files_that_hold_no_latencies(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Recorded(str(tmp_path / "absent.csv"))
    with pytest.raises(UserError, match="directory"):
        Recorded(str(tmp_path))
    other = tmp_path / "other.csv"
    other.write_text("id,accuracy\na,0.5\n")
    with pytest.raises(UserError, match="lacks the column latency_ms"):
        Recorded(str(other))
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a CSV file"):
        Recorded(str(other))
