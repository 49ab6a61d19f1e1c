"""Device, precision and memory: found by rule, refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from nas.core.errors import UserError
from nas.network import device as ours
from nas.network.device import isolated_rng, layout, resolve_device, resolve_precision, to_device

CPU = torch.device("cpu")


def test_auto_takes_the_quickest_there_is(monkeypatch):
    for cuda, mps, wanted in [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: bool(cuda))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: bool(mps))
        assert resolve_device("auto").type == wanted
        assert resolve_device("cpu") == CPU


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"device=cuda is not there .* \(there is: cpu\)"):
        resolve_device("cuda")
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        resolve_device("gpu")


def test_bfloat16_where_it_is_quicker(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(ours, "cpu_has_bf16", lambda has=has: has)
        assert resolve_precision("auto", CPU) == (torch.bfloat16 if has else torch.float32)
        assert resolve_precision("bf16", CPU) == torch.bfloat16
        assert resolve_precision("fp32", CPU) == torch.float32
    for capability in ((7, 5), (8, 0), (9, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        wanted = torch.bfloat16 if capability >= (8, 0) else torch.float32
        assert resolve_precision("auto", torch.device("cuda")) == wanted
    assert resolve_precision("auto", torch.device("mps")) == torch.float32


def test_weights_are_laid_out_for_the_device():
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2))
    values = [p.clone() for p in net.parameters()]
    identities = [id(p) for p in net.parameters()]
    assert to_device(net, CPU) is net
    assert net[0].weight.is_contiguous(memory_format=layout(CPU))
    assert layout(torch.device("mps")) == torch.contiguous_format
    assert identities == [id(p) for p in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(values, net.parameters(), strict=True))


def test_own_randomness_is_given_back():
    state = torch.get_rng_state()
    draws = []
    for seed in (3, 3, 4):
        with isolated_rng(seed, CPU):
            draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults of Linux")
def test_freed_memory_is_kept():
    """In a process of its own, as it cannot be undone: the same block is not faulted in again."""
    code = """
import resource, torch
from nas.network.device import tune_malloc
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(2**22).fill_(1)  # 16 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults(), faults()
kept = tune_malloc(), faults()
print(before[1], int(kept[0]), faults())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, kept, after = map(int, out.stdout.split())
    if not kept:
        pytest.skip("the C library is not glibc")
    assert after <= before / 4  # 0 of 0 where the system backs such blocks by huge pages


def test_a_gpu_is_hidden_from_tests_that_do_not_ask_for_one():
    """With device=auto they would move to it, where two trainings do not give equal bits."""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not torch.cuda.is_available()
