"""What processes that train together agree on; the others are played by stubs."""

from __future__ import annotations

import pytest
import torch
from stripes import CPU, DATA, SHORT, SPACE, batches
from torch import Tensor, distributed

from nas.core.errors import UserError
from nas.supernet.supernet import Supernet
from nas.supernet.training import train_supernet
from nas.training.processes import check_equal_parts, decided_by_first


@pytest.fixture
def other(monkeypatch) -> dict[str, int]:
    """The batches of the other process, and what rank 0 decides."""
    state = {"batches": 6, "decision": 1}

    def all_reduce(ends: Tensor, operation: object) -> None:
        assert operation == distributed.ReduceOp.MAX
        ends.copy_(torch.maximum(ends, torch.tensor([state["batches"], -state["batches"]])))

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(distributed, "broadcast", lambda told, _: told.fill_(state["decision"]))
    return state


def test_unequal_parts_are_refused_before_anybody_waits(other):
    check_equal_parts(6, CPU)
    for number in (5, 7):
        other["batches"] = number
        with pytest.raises(UserError, match=r"equally many batches, not . to .: give"):
            train_supernet(Supernet(SPACE), batches(DATA.train), SHORT, device=CPU)


def test_the_first_process_decides(other):
    assert decided_by_first(False, CPU)
    other["decision"] = 0
    assert not decided_by_first(True, CPU)


def test_alone_there_is_nobody_to_ask():
    check_equal_parts(5, CPU)
    assert decided_by_first(True, CPU)
