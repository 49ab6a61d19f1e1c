"""The contract of every latency backend, and what each does by itself."""

from __future__ import annotations

import csv
import gc
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.backends import local
from nas.latency.backends.command import NUMBER, Command
from nas.latency.backends.local import Local
from nas.latency.backends.onnxruntime import OnnxRuntime
from nas.latency.backends.torch_eager import EventClock, TorchEager
from nas.latency.block_features import row_form, signature
from nas.latency.csv_table import COLUMNS
from nas.latency.timing import Backend, Timing
from nas.network.modules import build, build_rows

CONF = Path(__file__).parents[2] / "conf" / "latency"
NETS = [
    Arch((Stage(width, blocks=Block(se=0.25)),), Stem(8), Head(16), 16, classes=5)
    for width in (8, 16, 24)
]
ROWS = operators(NETS[1])
PARTS = [[row] for row in ROWS] + [ROWS[1:3], ROWS]
BENCH = """
import sys, time
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
image = {entry.name: numpy.zeros(entry.shape, numpy.float32)}
session.run(None, image)
start = time.perf_counter()
session.run(None, image)
print("one run took", 1e3 * (time.perf_counter() - start), "ms", file=sys.stdout)
"""


def bench(folder: Path, text: str = BENCH) -> str:
    """A command that runs `text` in a Python of its own, with the model as its argument."""
    script = folder / "bench.py"
    script.write_text(text)
    return f"{sys.executable} {script} {{onnx}}"


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
        "onnxruntime": quick,
        "torch": {"device": "cpu", **quick},
        "command": {"runs": 1, "command": bench(folder)},
        "table": {"path": table(folder)},
    }
    backend: Backend = instantiate(config, **required[name], **options)
    return backend


BACKENDS = sorted(path.stem for path in CONF.glob("*.yaml"))


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


LOCAL = [OnnxRuntime, TorchEager]


@pytest.mark.parametrize("kind", LOCAL)
def test_the_settings_in_conf_are_the_defaults(kind):
    assert instantiate(OmegaConf.load(CONF / f"{kind.name}.yaml")) == kind()


@pytest.mark.parametrize("kind", LOCAL)
def test_order_is_kept_where_more_networks_come_than_are_held_together(kind, monkeypatch):
    def classes(calls: dict[int, Callable[[], object]], **_: object) -> dict[int, Timing]:
        assert len(calls) <= 3  # two, and the reference
        outs = {key: call() for key, call in calls.items()}
        counts = {k: float((o[0] if isinstance(o, list) else o).shape[1]) for k, o in outs.items()}
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


def test_threads_and_spinning_reach_the_session():
    options = OnnxRuntime(threads=2, spinning=True)._options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert OnnxRuntime().describe()["threads"] == 1
    assert OnnxRuntime().identity() != OnnxRuntime(threads=2).identity()


def test_a_batch_reaches_the_models():
    assert OnnxRuntime(batch=3).prepared(ROWS, "symmetric")()[0].shape == (3, 5)
    assert OnnxRuntime(batch=3).prepared(ROWS[1:2], "same")()[0].shape == (3, 16, 8, 8)
    with torch.inference_mode():
        assert TorchEager(batch=3, device="cpu").prepared(ROWS, "symmetric")().shape == (3, 5)


# ---- torch


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_precision_and_layout_reach_weights_and_activations(precision, channels_last):
    backend = TorchEager(device="cpu", precision=precision, channels_last=channels_last)
    with torch.inference_mode():
        out = backend.prepared(ROWS[:2], "symmetric")()
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


def test_a_device_or_precision_that_is_none():
    with pytest.raises(UserError, match=r"unknown device 'gpu'.*auto, cpu, cuda"):
        TorchEager(device="gpu")
    with pytest.raises(UserError, match=r"unknown precision 'float8'.*bfloat16"):
        TorchEager(precision="float8")


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device=cuda is not there"):
        TorchEager(device="cuda")
    assert TorchEager().identity()["device"] == "cpu"


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and has none")
@pytest.mark.parametrize("graph", [False, True])
def test_cuda(graph):
    backend = TorchEager(
        device="cuda", graph=graph, min_rounds=6, max_rounds=6, precision="float16"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what cannot be captured warns
        assert all(map(sound, backend.measure_rows(PARTS)))
    assert backend.identity()["graph"] == graph


def test_rows_are_built_as_in_the_network():
    net, alone = build(NETS[1], seed=0).eval(), build_rows(ROWS).eval()
    alone.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(net(x), alone(x))


# ---- a command


def test_what_is_printed_by_another_process_comes_back_in_order(tmp_path):
    report = """import sys, onnx
output = onnx.load(sys.argv[1]).graph.output[0]
print(output.type.tensor_type.shape.dim[1].dim_value)"""
    backend = Command(command=bench(tmp_path, report), runs=2, together=2)
    nets = [replace(NETS[0], classes=n) for n in (9, 3, 7)]
    assert backend.measure_many(nets) == [Timing(n, 0.0, n, n, 2, False) for n in (9, 3, 7)]


def test_median_and_range_of_the_runs(tmp_path):
    count = tmp_path / "count"
    count.write_text("1")
    text = f"""from pathlib import Path
n = int(Path({str(count)!r}).read_text())
Path({str(count)!r}).write_text(str(2 * n))
print(n)"""
    found = Command(command=bench(tmp_path, text)).measure(NETS[0])
    assert found == Timing(2.0, 3.0, 1.0, 4.0, 3, noisy=True)


def shell(text: str, **options: object) -> Command:
    return Command(command=f"sh -c '{text}' {{onnx}}", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "ms"),
    [("echo 12.5", 12.5), ("echo warm-up 9 ms; echo mean 3.25ms", 3.25), ("echo 1e-1", 0.1),
     ("echo -e 7 ms on v1.2.3 with conv2d", 7), ("echo range 1-2", 2), ("echo .5,", 0.5)],
)  # fmt: skip
def test_the_last_number_counts(text, ms):
    assert shell(text, runs=1).measure(NETS[0]).median_ms == ms


def test_words_that_only_begin_like_numbers_are_none():
    assert NUMBER.findall("info nano inference") == []
    assert NUMBER.findall("nan -inf Infinity") == ["nan", "-inf", "Infinity"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("echo so far so good; echo all is well", "printed no number: all is well$"),
     ("true", "printed no number: nothing"),
     ("echo 0", "must be milliseconds, not 0$"),
     ("echo -3.5", "must be milliseconds, not -3.5$"),
     ("echo nan", "must be milliseconds, not nan$"),
     ("echo 1; echo inf", "must be milliseconds, not inf$"),
     ("echo 5; echo first >&2; echo no such device >&2; exit 3", "exit code 3: no such device$"),
     ("exit 1", "exit code 1: nothing in its standard error$"),
     ("kill -9 $$", "exit code -9")],
)  # fmt: skip
def test_a_run_that_fails_is_named_in_one_line_with_its_part(text, message):
    with pytest.raises(UserError, match=message) as caught:
        shell(text, runs=1).measure_rows([ROWS[1:2]])
    assert "failed on stage1_block1 mbconv_k3_s1_c8-48-16_r8_se2_relu:" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_whole_network_is_named_by_its_ends():
    with pytest.raises(UserError, match=r"failed on 5 rows from stem .* to classifier "):
        shell("true", runs=1).measure(NETS[0])


def test_long_words_are_shortened():
    with pytest.raises(UserError) as caught:
        shell('yes no | head -n 500 | tr -d "\\\\n"', runs=1).measure(NETS[0])
    assert str(caught.value).endswith("nonono")
    assert len(str(caught.value)) < 300


def gone(pid: int) -> bool:
    """Whether the process ends within some seconds; one that nobody has waited for has ended."""
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("leader", ["wait", "true"])
def test_a_command_that_hangs_is_killed_with_all_it_started(tmp_path, leader):
    pids = tmp_path / "pids"
    hang = shell(f"sleep 300 & echo $! >> {pids}; echo $$ >> {pids}; {leader}", timeout_s=3)
    with pytest.raises(UserError, match="timed out after 3 s"):
        hang.measure(NETS[0])
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == 2
    assert all(map(gone, found))


def test_ctrl_c_kills_the_command_too(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"""
from nas.arch.arch import Arch, Stage
from nas.latency.backends.command import Command
hang = "sh -c 'echo $$ > {pid_file}.tmp; mv {pid_file}.tmp {pid_file}; exec sleep 300' {{onnx}}"
Command(command=hang).measure(Arch((Stage(8),)))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    while not pid_file.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert gone(int(pid_file.read_text()))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"command": "bench model.onnx"}, r"must contain \{onnx\}.*not 'bench model.onnx'"),
     ({"command": "no-such-program {onnx}"}, "program 'no-such-program' was not found"),
     ({"command": "sh -c '{onnx}"}, "No closing quotation"),
     ({"command": "echo {onnx}", "runs": 0}, "runs must be a whole number from 1"),
     ({"command": "echo {onnx}", "batch": 0}, "batch must be a whole number from 1"),
     ({"command": "echo {onnx}", "timeout_s": 0}, "timeout_s must be a number above 0")],
)  # fmt: skip
def test_settings_of_a_command_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        Command(**options)


def test_a_program_that_cannot_be_run(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(UserError, match="cannot run the latency command"):
        Command(command=f"{broken} {{onnx}}").measure(NETS[0])


def test_the_model_that_the_command_sees(tmp_path):
    text = """import sys, onnx
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model)
print([d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][0])"""
    found = Command(command=bench(tmp_path, text), batch=4, runs=1).measure_rows([ROWS[2:3]])
    assert found[0].median_ms == 4


def test_the_device_is_part_of_the_identity():
    here, there = (Command(command="echo {onnx}", device=name) for name in ("", "phone"))
    assert here.identity() != there.identity()
    assert row_form(ROWS[0]) == "stem stem_k3_s2_c3-8_r16_relu"
