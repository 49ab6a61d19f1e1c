"""CUDA graphs: what was launched once, kernel by kernel, is launched again as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

WARM_UP = 3  # runs before a capture, as in torch's "CUDA semantics": cuDNN chooses and allocates


class CaptureFailed(RuntimeError):  # noqa: N818 - an outcome
    """The work cannot be captured; in one line, why."""


def warm_up(work: Callable[[], object], times: int = WARM_UP) -> None:
    """Do `work` so often on a stream of its own, as a capture asks for."""
    aside: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(times):
            work()
    torch.cuda.current_stream().wait_stream(aside)


def capture(work: Callable[[], T]) -> tuple[Callable[[], None], T]:
    """A call that launches again all that `work` launches, and what `work` returned.

    The tensors that `work` reads and writes must live as long as the call.  Nothing is computed
    yet.  Raises CaptureFailed, or OutOfMemoryError.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            result = work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CaptureFailed(str(error).partition("\n")[0]) from error
    finally:
        torch.cuda.set_stream(stream)  # torch leaves that of the capture where its end fails
    return graph.replay, result
