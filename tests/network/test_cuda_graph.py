"""Capturing CUDA graphs, as far as it can be seen without a GPU."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from nas.network.cuda_graph import CaptureFailed, capture


@pytest.fixture
def streams(monkeypatch) -> list[str]:
    """The streams that were current, the latest last; a capture that fails leaves its own."""
    current = ["default"]

    class Graph:
        def replay(self) -> None:
            current.append("replayed")

    @contextmanager
    def graph(_: Graph):
        current.append("capture")
        yield
        current.append("default")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_stream", current.append)
    return current


def test_what_was_captured_is_replayed(streams):
    replay, result = capture(lambda: 7)
    assert result == 7
    assert streams[-1] == "default"
    replay()
    assert streams[-1] == "replayed"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RuntimeError("not permitted\nwhen capturing"), CaptureFailed, "^not permitted$"),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError, "out of memory"),
    ],
)
def test_after_a_capture_that_failed_the_stream_is_as_before(streams, error, kind, words):
    def work() -> None:
        raise error

    with pytest.raises(kind, match=words):
        capture(work)
    assert streams[-2:] == ["capture", "default"]
