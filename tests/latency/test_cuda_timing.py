"""How torch's calls are timed on CUDA: its clock and its graphs, without a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from timed_parts import PARTS

from nas.latency.backends import torch_eager
from nas.latency.backends.torch_eager import EventClock, TorchEager
from nas.latency.timing import Repeated
from nas.network.cuda_graph import CaptureFailed


class FakeEvent:
    """An event of a device whose stream stands at `at` milliseconds."""

    at = 0.0
    waits = 0

    def record(self) -> None:
        self.time = FakeEvent.at

    def synchronize(self) -> None:
        FakeEvent.waits += 1

    def elapsed_time(self, end: FakeEvent) -> float:
        assert FakeEvent.waits > 1, "an event was read that may not have happened yet"
        return float(np.float32(end.time - self.time))


def test_the_clock_of_events_adds_up_short_spans():
    FakeEvent.at, FakeEvent.waits = 0.0, 0
    clock = EventClock(FakeEvent)
    assert clock() == 0
    FakeEvent.at = 1e6  # a quarter of an hour, at which float32 milliseconds are 0.06 apart
    start = clock()
    FakeEvent.at += 0.0125
    assert clock() - start == pytest.approx(12_500, abs=1)
    assert FakeEvent.waits == 3


class FakeGraphs:
    """Graphs of calls of 1 us each; launching one takes 8 us."""

    def __init__(self) -> None:
        self.calls, self.captured = 0, []

    def call(self) -> None:
        self.calls += 1

    def capture(self, work: Callable[[], object]) -> tuple[Callable[[], None], object]:
        self.calls = 0
        result = work()
        self.captured.append(self.calls)
        microseconds = max(8, self.calls)

        def replay() -> None:
            FakeEvent.at += microseconds / 1000

        return replay, result


@pytest.fixture
def graphs(monkeypatch) -> FakeGraphs:
    FakeEvent.at, FakeEvent.waits = 0.0, 0
    fake = FakeGraphs()
    monkeypatch.setattr(torch_eager, "warm_up", lambda call: None)
    monkeypatch.setattr(torch_eager, "capture", fake.capture)
    monkeypatch.setattr(torch_eager, "event_clock", lambda: EventClock(FakeEvent))
    return fake


def test_a_short_call_is_several_in_one_graph(graphs):
    """Or launching the graph would be all that is timed: 8 us of a call of 1 us."""
    launch = torch_eager._captured(graphs.call)
    assert isinstance(launch, Repeated)
    assert graphs.captured == [1, 13] == [1, launch.times]
    before = FakeEvent.at
    launch()
    assert (FakeEvent.at - before) * 1000 / launch.times == pytest.approx(1)


def test_what_cannot_be_captured_is_timed_layer_by_layer_and_says_so(graphs, monkeypatch):
    def refuse(work: object) -> None:
        raise CaptureFailed("not permitted")

    monkeypatch.setattr(torch_eager, "capture", refuse)
    call = graphs.call
    with pytest.warns(UserWarning, match="no CUDA graph, timed layer by layer: not permitted"):
        assert torch_eager._captured(call) is call


def test_the_identity_says_whether_convolutions_are_rounded_on_cuda_only(monkeypatch):
    assert "tf32" not in TorchEager(device="cpu").identity()  # or earlier tables would be lost
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert TorchEager(device="cuda").identity()["tf32"] == torch.backends.cudnn.allow_tf32


@pytest.mark.gpu
@pytest.mark.parametrize("graph", [False, True])
def test_cuda(graph):
    backend = TorchEager(
        device="cuda", graph=graph, min_rounds=6, max_rounds=6, precision="float16"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what cannot be captured warns
        assert all(t.median_ms > 0 for t in backend.measure_rows(PARTS))
    assert backend.identity()["graph"] == graph
