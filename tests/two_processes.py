"""Work done by two processes that are joined, as torchrun's are, over gloo."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from nas.data.share import Share
from nas.training.processes import joined, own_share

Work = Callable[[Share], Any]


def by_two(work: Work, folder: Path) -> tuple[Any, Any]:
    """What `work`, of a module, returns in each: plain values and tensors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = folder / "other.pt"
    other = mp.get_context("spawn").Process(target=_done, args=(work, 1, port, kept), daemon=True)
    other.start()
    first = _done(work, 0, port)
    other.join(300)
    assert other.exitcode == 0
    return first, torch.load(kept, weights_only=True)


def _done(work: Work, rank: int, port: int, keep: Path | None = None) -> Any:
    told = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, str(value))
        with joined(torch.device("cpu")):
            result = work(own_share())
    if keep:
        torch.save(result, keep)
    return result
