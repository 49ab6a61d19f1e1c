"""The contract of every latency backend, and what each does by itself."""

from __future__ import annotations

import csv
import gc
import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from timed_parts import NETS, PARTS, ROWS, bench

from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.backends import local
from nas.latency.backends import onnxruntime as onnxruntime_backend
from nas.latency.backends.litert import LiteRT
from nas.latency.backends.local import Local
from nas.latency.backends.onnxruntime import OnnxRuntime
from nas.latency.backends.torch_eager import TorchEager
from nas.latency.block_features import signature
from nas.latency.csv_table import COLUMNS
from nas.latency.timing import Backend, Timing
from nas.network.modules import build, build_rows
from nas.network.sessions import open_session

CONF = Path(__file__).parents[2] / "conf" / "latency"


def table(folder: Path) -> str:
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        lines = {str(line): line for net in NETS for line in map(signature, operators(net))}
        writer.writerows(line | {"ms": 0.25 * (i + 1)} for i, line in enumerate(lines.values()))
    return str(path)


def made(name: str, folder: Path, **options: object) -> Backend:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    quick = {"min_rounds": 6, "max_rounds": 6}
    required = {
        "litert": quick,
        "onnxruntime": quick,
        "torch": {"device": "cpu", **quick},
        "command": {"runs": 1, "command": bench(folder)},
        "table": {"path": table(folder)},
    }
    backend: Backend = instantiate(config, **required[name], **options)
    return backend


needs_litert = pytest.mark.skipif(
    find_spec("ai_edge_litert") is None, reason="needs the package ai-edge-litert"
)
BACKENDS = [
    pytest.param(path.stem, marks=needs_litert if path.stem == "litert" else ())
    for path in sorted(CONF.glob("*.yaml"))
    if path.stem != "ray_command"  # is `command` elsewhere; test_ray_command.py begins a Ray once
]


@pytest.fixture(params=BACKENDS)
def backend(request, tmp_path) -> Backend:
    return made(request.param, tmp_path)


def sound(t: Timing) -> bool:
    assert t.iqr_ms >= 0
    assert t.runs >= 0
    assert isinstance(t.noisy, bool)
    return 0 < t.ci_low_ms <= t.median_ms <= t.ci_high_ms < math.inf


def test_contract_one_timing_a_network(backend):
    reported: dict[int, Timing] = {}
    found = backend.measure_many([*NETS, NETS[0]], on_timing=reported.__setitem__)
    assert [reported[i] for i in range(4)] == found
    assert all(map(sound, [*found, backend.measure(NETS[1])]))


def test_contract_the_last_report_of_a_part_is_its_timing(backend):
    reported: list[tuple[int, Timing]] = []
    found = backend.measure_rows(PARTS, "symmetric", lambda *news: reported.append(news))
    assert len(found) == len(PARTS)
    assert dict(reported) == dict(enumerate(found))
    assert all(map(sound, found))


def test_contract_nothing_to_measure(backend):
    assert backend.measure_many([]) == backend.measure_rows([]) == []


def test_contract_describes_itself_in_plain_data(backend):
    facts = backend.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["backend"] == backend.name


def test_contract_an_identity_that_stays(backend, tmp_path):
    known = backend.identity()
    assert json.loads(json.dumps(known)) == known
    assert known["backend"] == backend.name
    assert made(backend.name, tmp_path).identity() == known
    if backend.name != "table":
        other = made(backend.name, tmp_path, seed=7).identity()
        assert other == known
        assert made(backend.name, tmp_path, batch=2).identity() != known


def test_contract_the_file_in_conf_has_its_name(backend):
    assert (CONF / f"{backend.name}.yaml").exists()


def test_contract_a_network_that_cannot_be_built_is_the_users_mistake(backend):
    with pytest.raises(UserError, match="resolution 1 is too small"):
        backend.measure(replace(NETS[0], resolution=1))


def test_contract_leaves_the_process_as_it_was(backend):
    def state() -> tuple[object, ...]:
        generator = np.random.get_state()[1].tolist()  # noqa: NPY002  # the global one is meant
        torchs = torch.get_rng_state().tolist(), torch.get_num_threads()
        return gc.isenabled(), random.getstate(), generator, torchs, torch.is_grad_enabled()

    before = state()
    backend.measure_many(NETS[:1])
    assert state() == before


# ---- on this machine


LOCAL = [pytest.param(LiteRT, marks=needs_litert), OnnxRuntime, TorchEager]


def answer(call: Callable[[], object]) -> Any:
    """What the call puts out; LiteRT's leaves it in its interpreter."""
    out = call()
    if out is None:
        interpreter = call.__self__
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return out[0] if isinstance(out, list) else out


@pytest.mark.parametrize("kind", LOCAL)
def test_the_settings_in_conf_are_the_defaults(kind):
    assert instantiate(OmegaConf.load(CONF / f"{kind.name}.yaml")) == kind()


@pytest.mark.parametrize("kind", LOCAL)
def test_order_is_kept_where_more_networks_come_than_are_held_together(kind, monkeypatch):
    def classes(calls: dict[int, Callable[[], object]], **_: object) -> dict[int, Timing]:
        assert len(calls) <= 3  # two, and the reference
        shapes = {key: answer(call).shape for key, call in calls.items()}
        classes_at = {4: 3 if kind is LiteRT else 1, 2: 1}
        counts = {key: float(shape[classes_at[len(shape)]]) for key, shape in shapes.items()}
        return {key: Timing(n, 0.0, n, n, 1, False) for key, n in reversed(counts.items())}

    monkeypatch.setattr(local, "measure", classes)
    nets = [replace(NETS[0], classes=n) for n in (9, 3, 7, 5, 4)]
    backend: Local = kind(together=2)
    assert [t.median_ms for t in backend.measure_many(nets)] == [9, 3, 7, 5, 4]
    assert backend.measure(nets[2]).median_ms == 7
    assert [t.median_ms for t in backend.measure_rows([ROWS[:1], ROWS])] == [8, 5]


@pytest.mark.parametrize("kind", LOCAL)
@pytest.mark.parametrize(
    "options",
    [{"threads": -1}, {"together": 0}, {"min_rounds": 0}, {"rel_ci": 0}, {"max_seconds": -1},
     {"max_seconds": math.nan}, {"max_rounds": 0}, {"warmup": 0}, {"batch": 0}],
)  # fmt: skip
def test_settings_out_of_range(kind, options):
    with pytest.raises(UserError, match=next(iter(options))):
        kind(**options)


def test_threads_and_spinning_reach_the_session(monkeypatch):
    opened = []

    def opening(*args, **more):
        opened.append(open_session(*args, **more))
        return opened[0]

    monkeypatch.setattr(onnxruntime_backend, "open_session", opening)
    OnnxRuntime(threads=2, spinning=True).prepare(ROWS, "symmetric")
    options = opened[0].get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert OnnxRuntime().describe()["threads"] == 1
    assert OnnxRuntime().identity() != OnnxRuntime(threads=2).identity()


def test_a_batch_reaches_the_models():
    assert OnnxRuntime(batch=3).prepare(ROWS, "symmetric")()[0].shape == (3, 5)
    assert OnnxRuntime(batch=3).prepare(ROWS[1:2], "same")()[0].shape == (3, 16, 8, 8)
    with torch.inference_mode():
        assert TorchEager(batch=3, device="cpu").prepare(ROWS, "symmetric")().shape == (3, 5)


# ---- LiteRT


@needs_litert
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_precision_and_batch_reach_the_interpreter(precision):
    call = LiteRT(precision=precision, batch=3).prepare(ROWS, "symmetric")
    call()
    (entry,) = call.__self__.get_input_details()
    assert entry["dtype"] == np.dtype(precision)
    assert entry["shape"].tolist() == [3, 16, 16, 3]
    assert len(np.unique(call.__self__.get_tensor(entry["index"]))) > 64
    assert answer(call).shape == (3, 5)
    assert answer(call).std() > 0
    known = LiteRT(precision=precision).identity()
    assert known["precision"] == precision
    assert known["version"]
    assert known != LiteRT(precision=precision, threads=2).identity()


@needs_litert
def test_the_runtime_does_not_chatter():
    code = (
        "from timed_parts import ROWS\nfrom nas.latency.backends.litert import LiteRT\n"
        "LiteRT(threads=2).prepare(ROWS, 'same')()"
    )
    folder = Path(__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, cwd=folder, text=True
    )
    assert ended.stdout + ended.stderr == ""


def test_without_litert_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(UserError, match=r"latency=litert needs.*pip install -e '\.\[litert\]'"):
        LiteRT()


@needs_litert
def test_a_precision_that_is_none():
    with pytest.raises(UserError, match=r"unknown latency.precision 'int4'.*float32, int8"):
        LiteRT(precision="int4")


# ---- torch


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_precision_and_layout_reach_weights_and_activations(precision, channels_last):
    backend = TorchEager(device="cpu", precision=precision, channels_last=channels_last)
    with torch.inference_mode():
        out = backend.prepare(ROWS[:2], "symmetric")()
    assert out.dtype == getattr(torch, precision)
    assert out.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert out.isfinite().all()
    assert out.float().std() > 0.01


def test_threads_are_asked_for_meanwhile_and_put_back(monkeypatch):
    seen: list[int] = []
    before = torch.get_num_threads()

    def look(calls: dict[int, Callable[[], object]], **_: object) -> dict[int, Timing]:
        seen.append(torch.get_num_threads())
        assert torch.is_inference_mode_enabled()
        return {key: Timing(1.0, 0.0, 1.0, 1.0, 1, False) for key in calls}

    monkeypatch.setattr(local, "measure", look)
    for threads in (1, before + 1, 0):
        TorchEager(device="cpu", threads=threads).measure(NETS[0])
        assert torch.get_num_threads() == before
    assert seen == [1, before + 1, before]


def test_the_identity_says_how_many_threads_torch_takes_by_itself(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert TorchEager(device="cpu", threads=0).identity()["threads"] == 3
    assert TorchEager(device="cpu", threads=2).identity()["threads"] == 2


def test_a_device_or_precision_that_is_none():
    with pytest.raises(UserError, match=r"unknown latency.device 'gpu'.*auto, cpu, cuda"):
        TorchEager(device="gpu")
    with pytest.raises(UserError, match=r"unknown latency.precision 'float8'.*bfloat16"):
        TorchEager(precision="float8")


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device=cuda is not there"):
        TorchEager(device="cuda")
    assert TorchEager().identity()["device"] == "cpu"


def test_rows_are_built_as_in_the_network():
    net, alone = build(NETS[1], seed=0).eval(), build_rows(ROWS).eval()
    alone.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(net(x), alone(x))
