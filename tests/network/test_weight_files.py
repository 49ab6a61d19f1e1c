"""Checkpoints as tools leave them: the network in them is found, and nothing in them runs."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import math
import os
import pathlib
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.core.errors import UserError
from nas.network.modules import Network, build
from nas.network.weight_files import read_networks
from nas.training.first_weights import FirstWeights

SMALL = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=1, classes=10)
PLAIN = build(SMALL, seed=1).state_dict()
AVERAGED = {key: t + 1 if t.is_floating_point() else t for key, t in PLAIN.items()}
OTHER = build(Arch((Stage(24),), Stem(8), resolution=20), seed=1).state_dict()


class Kind(enum.Enum):
    ONE = 1


class Slots:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


class AttributeDict(dict):  # type: ignore[type-arg]  # as such tools write it
    """As Lightning's, which is not installed here."""


def prefixed(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + key: tensor for key, tensor in state.items()}


OPTIMIZER = {
    "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(8, 1, 3, 3)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}
OPTIONS = {
    "args": argparse.Namespace(lr=0.1, path=pathlib.Path("a"), device=torch.device("cpu")),
    "best": np.float64(91.2),
    "seen": np.int64(3),
    "curve": np.arange(3.0),
    "by kind": {Kind.ONE: datetime.timedelta(3)},
    "counts": collections.defaultdict(list, a=[1]),
    "slots": Slots(),
    "losses": collections.deque([1.0, 2.0], 3),
    "schedule": functools.partial(max, 1),
    "act": functools.partial(torch.relu),
    "all": ...,
    "rng": torch.get_rng_state(),
    "metrics": {"val.loss": torch.tensor(0.1), "val.matrix": torch.ones(3, 3)},
    "optimizer": OPTIMIZER,
}
LIGHTNING = {
    "state_dict": {
        **prefixed("model.", PLAIN), "criterion.weight": torch.ones(10), "acc.tp": torch.tensor(3)
    },
    "hyper_parameters": AttributeDict(lr=0.1),
    "optimizer_states": [OPTIMIZER],
}  # fmt: skip


def saved(content: Any, path: pathlib.Path, **how: Any) -> str:
    """The file, which names a class whose module is gone when it is read."""
    module = types.ModuleType("gone_module")
    module.AttributeDict = AttributeDict  # type: ignore[attr-defined]  # made for pickle
    AttributeDict.__module__ = module.__name__
    sys.modules[module.__name__] = module
    try:
        torch.save(content, path, **how)
    finally:
        del sys.modules[module.__name__]
    return str(path)


def loaded(path: str, key: str | None = None) -> tuple[str, Network]:
    """What is said after the file's name, and the network."""
    net = build(SMALL, seed=2)
    origin, anew = FirstWeights(path, None, key).load_into(net)
    assert anew == ()
    return origin.removeprefix(path), net


def holds(net: Network, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PLAIN, ""),
        ({"net": PLAIN}, " · net"),
        ({"epoch": 3, "lr": torch.tensor(0.1), **PLAIN}, ""),
        ({"model_state_dict": PLAIN, **OPTIONS}, " · model_state_dict"),
        ({**OPTIONS, "last": {"model": {"state_dict": PLAIN}}}, " · last.model.state_dict"),
        (LIGHTNING, " · state_dict.model"),
        (prefixed("_orig_mod.module.", PLAIN), " · _orig_mod.module"),
        ({"model": prefixed("encoder.", PLAIN)}, " · model.encoder"),
        ({**prefixed("module.", PLAIN), "n_averaged": torch.tensor(3)}, " · module"),
        ({"generator": OTHER, "other": PLAIN}, " · other"),
        ((PLAIN, 3), " · 0"),
        ({**PLAIN, "loss.weight": torch.tensor(1.0)}, ""),
        ({**PLAIN, "criterion.centres": torch.ones(10, 8), "acc.tp": torch.tensor(3)}, ""),
        ({"state_dict_ema": AVERAGED, "state_dict": PLAIN},
         " · state_dict, not state_dict_ema (weights.key= chooses)"),
        ({"ema": AVERAGED, "params": PLAIN}, " · params, not ema (weights.key= chooses)"),
        ({"model_ema": prefixed("module.", AVERAGED), "model": prefixed("module.", PLAIN)},
         " · model.module, not model_ema.module (weights.key= chooses)"),
        ({**prefixed("student.", PLAIN), **prefixed("teacher.", AVERAGED), "x.q": torch.ones(3)},
         " · student, not teacher (weights.key= chooses)"),
        ({"a": AVERAGED, "model": PLAIN}, " · model, not a (weights.key= chooses)"),
    ],
)  # fmt: skip
def test_the_network_in_a_checkpoint_is_found_and_said(content, said, tmp_path):
    origin, net = loaded(saved(content, tmp_path / "w.pth"))
    assert origin == said
    assert holds(net, PLAIN)


def test_files_of_old_versions_of_torch_are_read_too(tmp_path):
    content = {"args": argparse.Namespace(a=1), "best": np.float64(3), "state_dict": PLAIN}
    path = saved(content, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert holds(loaded(path)[1], PLAIN)


@pytest.mark.parametrize("key", ["model_ema", "model_ema.module"])
def test_a_key_chooses(key, tmp_path):
    content = {"model": PLAIN, "model_ema": prefixed("module.", AVERAGED)}
    path = saved(content, tmp_path / "w.pth")
    assert holds(loaded(path, key)[1], AVERAGED)
    with pytest.raises(
        UserError, match=r"w\.pth: .*'model_em'; did you mean model\?.*model, model_ema.mod"
    ):
        read_networks(path, "model_em")


def changed(make: Callable[[Tensor], Tensor], part: str = "") -> dict[str, Tensor]:
    return {
        key: make(t) if t.is_floating_point() and part in key else t for key, t in PLAIN.items()
    }


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore:.*quantize", "ignore:TypedStorage")
@pytest.mark.parametrize(
    ("state", "why"),
    [
        (changed(lambda t: t * math.nan, "head"), "holds NaN"),
        (changed(lambda t: t * math.inf, "running_mean"), "holds NaN"),
        (changed(lambda t: t + math.inf), "holds numbers that are infinite"),
        (changed(lambda t: t.double() + 1e300), "holds numbers that are infinite"),
        (changed(lambda t: -t, "running_var"), "holds variances below 0"),
        (changed(lambda t: t > 0), "holds torch.bool, not floating-point"),
        (changed(lambda t: t.to(torch.int8)), "holds torch.int8"),
        (changed(lambda t: t.to(torch.complex64)), "holds torch.complex64"),
        (changed(lambda t: t.to_sparse()), "is sparse_coo, not dense"),
        (changed(lambda t: t.to("meta")), "is empty .meta., not dense"),
        (None, "is quantised, not dense"),
    ],
)
def test_what_is_no_weight_is_named_and_nothing_is_loaded(state, why, tmp_path):
    path = saved(state or changed(quantised), tmp_path / "w.pth")
    net = build(SMALL, seed=2)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with pytest.raises(UserError, match=rf"w\.pth: the file's \S+ {why}"):
        FirstWeights(path, None).load_into(net)
    assert holds(net, before)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_numbers_are_weights(kind, tmp_path):
    loaded(saved(changed(lambda t: t.to(kind)), tmp_path / "w.pth"))


@settings(max_examples=10)
@given(at=st.floats(0.1, 0.8))
def test_a_bit_that_fell_over_is_noticed(at, tmp_path_factory):
    path = pathlib.Path(saved(PLAIN, tmp_path_factory.mktemp("a") / "w.pth"))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        stored = max(archive.infolist(), key=lambda entry: entry.file_size)
    # the local header is 30 bytes, the name, and torch's padding to the tensor
    extra = int.from_bytes(content[stored.header_offset + 28 : stored.header_offset + 30], "little")
    start = stored.header_offset + 30 + len(stored.filename) + extra
    content[start + int(at * stored.file_size)] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pth cannot be read as weights .BadZipFile"):
        read_networks(path)


def test_what_fits_nowhere_is_said_of_the_first(tmp_path):
    path = saved({"ema": AVERAGED, "model": OTHER}, tmp_path / "w.pth")
    assert loaded(path)[0] == " · ema"
    with pytest.raises(UserError, match="load it into the network that it was made for"):
        loaded(path, "model")


@pytest.mark.parametrize("content", [build(SMALL), {"model": build(SMALL)}, {"metrics": [1]}])
def test_what_holds_no_state_dict_is_one_line(content, tmp_path):
    path = saved(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"save (one|the state dict alone) with torch") as error:
        read_networks(path)
    assert "\n" not in str(error.value)


class Harmful:
    def __init__(self, function: Any, *words: Any) -> None:
        self.made_by = (function, words)

    def __reduce__(self) -> Any:
        return self.made_by


@pytest.mark.parametrize("old", [False, True])
def test_nothing_in_a_file_runs(old, tmp_path):
    trace = tmp_path / "ran"
    text = f"open({str(trace)!r}, 'w')"
    for i, harm in enumerate(
        [
            Harmful(exec, text),
            Harmful(eval, text),
            Harmful(open, str(trace), "w"),
            Harmful(os.system, f"touch {trace}"),
            Harmful(subprocess.check_call, ["touch", str(trace)]),
            Harmful(pathlib.Path.touch, trace),
            Harmful(getattr, "a", "upper"),
        ]
    ):
        path = saved(
            {"model": PLAIN, "x": harm},
            tmp_path / f"{i}.pth",
            _use_new_zipfile_serialization=not old,
        )
        try:
            net = loaded(path)[1]
        except UserError as error:
            assert "cannot be read as weights" in str(error)  # noqa: PT017 - either is right
        else:
            assert holds(net, PLAIN)
        assert not trace.exists()


JUNK = st.dictionaries(
    st.sampled_from(["epoch", "optimizer", "args", "scheduler", "a.b"]),
    st.sampled_from([3, None, "x", [1, {"a.b": 2}], torch.ones(3), OPTIONS]),
    max_size=3,
)


@settings(max_examples=25)
@given(
    keys=st.lists(st.sampled_from(["net", "state_dict", "model", "x.y", "weights"]), max_size=3),
    prefix=st.lists(
        st.sampled_from(["module", "model", "_orig_mod", "encoder", "net"]), max_size=2
    ),
    junk=st.lists(JUNK, min_size=4, max_size=4),
)
def test_any_nesting_and_any_prefix_is_seen_through(keys, prefix, junk, tmp_path_factory):
    content: dict[str, Any] = prefixed("".join(f"{name}." for name in prefix), PLAIN)
    for key, beside in zip(reversed(keys), junk, strict=False):
        content = {**beside, key: content}
    origin, net = loaded(saved(content, tmp_path_factory.mktemp("file") / "w.pth"))
    assert holds(net, PLAIN)
    assert origin == (f" · {'.'.join([*keys, *prefix])}" if keys + prefix else "")
