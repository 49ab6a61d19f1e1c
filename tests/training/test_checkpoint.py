"""Checkpoints: whole, or refused."""

from __future__ import annotations

import random

import pytest
import torch

from nas.core.errors import UserError
from nas.training.checkpoint import read, write

CPU = torch.device("cpu")
STATE = {"settings": "some", "weights": {"a": torch.arange(40.0)}, "epochs": [{"loss": 0.25}]}


def test_a_file_with_one_wrong_bit_is_read_as_it_was_or_refused(tmp_path):
    write(path := tmp_path / "training.pt", STATE)
    whole, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            state = read(path, "training", "some", CPU)
        except UserError:
            refused += 1
        else:
            assert torch.equal(state["weights"].pop("a"), STATE["weights"]["a"])
            assert state == STATE | {"weights": {}}
    assert refused > 100


@pytest.mark.parametrize("part", [0, 1, 10, 100, -100, -1])
def test_a_part_of_a_file_is_refused(part, tmp_path):
    write(path := tmp_path / "training.pt", STATE)
    path.write_bytes(path.read_bytes()[:part])
    with pytest.raises(UserError, match="cannot read the training"):
        read(path, "training", "some", CPU)
