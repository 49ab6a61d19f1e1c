"""Latency by a command of the user's: what it prints, how it fails, what it leaves running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from timed_parts import NETS, ROWS, bench

from nas.core.errors import UserError
from nas.core.run_folder import FREE, differences
from nas.latency.backends.command import Command
from nas.latency.backends.ray_command import RayCommand
from nas.latency.block_features import row_form
from nas.latency.run import open_space
from nas.latency.settings import LatencySettings
from nas.latency.store import table_folder
from nas.latency.timing import Timing


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
     ("echo conv2d; echo 7 ms", 7), ("echo .5,", 0.5)],
)  # fmt: skip
def test_the_last_number_counts(text, ms):
    assert shell(text, runs=1).measure(NETS[0]).median_ms == ms


@pytest.mark.parametrize(
    ("text", "message"),
    [("echo so far so good; echo all is well", "printed no number: all is well$"),
     ("true", "printed no number: nothing"),
     ("echo 0", "must be milliseconds, not 0$"),
     ("echo -3.5", "must be milliseconds, not -3.5$"),
     ("echo nan", "must be milliseconds, not nan$"),
     ("echo 1; echo inf", "must be milliseconds, not inf$"),
     ("echo 1,234 ms", "'1,234 ms': 1,234 can be read in several ways"),
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
     ({"command": "echo {onnx} && ./bench"}, r"'&&' is for a shell.*sh -c '\.\.\.'$"),
     ({"command": "echo {onnx} | tail"}, r"'\|' is for a shell"),
     ({"command": "echo {onnx} >/dev/null 2>&1"}, "'>/dev/null' is for a shell"),
     ({"command": "echo {onnx} 2> log"}, "'2>' is for a shell"),
     ({"command": "echo {onnx}; ./bench"}, "onnx};' is for a shell"),
     ({"command": "sh -c '{onnx}"}, "No closing quotation"),
     ({"command": "echo {onnx}", "runs": 0}, "runs must be a whole number from 1"),
     ({"command": "echo {onnx}", "batch": 0}, "batch must be a whole number from 1"),
     ({"command": "echo {onnx}", "timeout_s": 0}, "timeout_s must be a number above 0")],
)  # fmt: skip
def test_settings_of_a_command_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        Command(**options)


def test_signs_of_a_shell_may_be_in_quotes():
    command = r"""echo {onnx} '&&' ";" \> 'x|y'"""
    with pytest.raises(UserError, match=r"unclear in .*&& ; > x\|y"):
        Command(command=command).measure(NETS[0])


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


def test_a_longer_timeout_keeps_what_was_timed():
    """The folder is that of version 0.1, in tests/old_runs/."""
    words = ["space=nas_bench_macro", "latency=command", "latency.command=sh measure.sh {onnx}",
             "table=short", "table.blocks=12", "table.calibrate=6", "table.validate=6",
             "table.repeat=2"]  # fmt: skip
    for more in ([], ["latency.timeout_s=300"]):
        settings = LatencySettings.of(*words, *more)
        device, effort = settings.latency.make(), settings.table.make()
        space, _ = open_space(settings)
        folder = table_folder("results", "nas_bench_macro", space, device, effort)
        assert folder.name == "nas_bench_macro-28px-command-7aadd2cc"
        assert device.timeout_s == (300 if more else 60)


def test_what_does_not_decide_times_may_change_in_a_run():
    free = {f"latency.{f.name}" for f in fields(RayCommand) if f.init and not f.compare}
    assert free == set(FREE)
    node = {"command": "bench {onnx}", "timeout_s": 60, "address": None, "retries": 2}
    other = node | {"timeout_s": 300, "address": "auto", "retries": 9}
    assert not differences({"latency": other}, {"latency": node})
    found = differences({"latency": other | {"command": "x {onnx}"}}, {"latency": node})
    assert found == "latency.command: x {onnx} here, bench {onnx} there"
