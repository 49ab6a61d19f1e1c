"""Latency on any device: a command of the user's runs an ONNX file there and says how long it took.

The command is split into words as a shell would, but no shell runs it: for pipes, redirections or
several commands write `sh -c '...'`, such as

    sh -c 'scp -q {onnx} pi:n.onnx && ssh pi ./bench n.onnx'
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from nas.core.errors import UserError
from nas.core.interrupts import defer_sigint
from nas.core.typed import Count, Natural, Positive, check_fields
from nas.latency.backends.local import Padded, PartsBackend, Rows
from nas.latency.backends.printed_time import last_line, printed_ms
from nas.latency.block_features import row_form
from nas.latency.timing import OnTiming, Timing, interquartile_range, report_each
from nas.network.onnx_graph import onnx_rows

WIDE = 0.1  # runs that differ by more than this share cannot tell blocks apart within 10 %
QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""")
FOR_A_SHELL = re.compile(r"\S*[&|;<>]\S*")
GRACE_S = 5  # for a killed process to be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(PartsBackend):
    """Runs `command` on each model, float32, and reads its time from the last line with a number.

    command    words; `{onnx}` in them becomes the path of the model.
    timeout_s  seconds after which a run, and all that it started, is killed.
    runs       of each model; the figure is their median, its interval their range.
    together   how many models are run in turns, in random order.
    batch      inputs that the model takes at once.
    device     a name for the device that the command runs on.
    Raises UserError for settings out of range and for a run that fails.
    """

    command: str
    timeout_s: Positive = field(default=60.0, compare=False)
    runs: Count = 3
    together: Count = 8
    batch: Count = 1
    device: str = ""
    seed: Natural = 0
    name: ClassVar[str] = "command"

    def __post_init__(self) -> None:
        check_fields(self, "latency")
        if "{onnx}" not in self.command:
            raise UserError(
                f"latency.command must contain {{onnx}}, where the path of the model goes, not "
                f"{self.command!r}"
            )
        if sign := FOR_A_SHELL.search(QUOTED.sub("", self.command)):
            raise UserError(
                f"the latency command's {sign[0]!r} is for a shell, and none runs it: quote it, or "
                "put the whole command into sh -c '...'"
            )
        self._check_program()

    def _check_program(self) -> None:
        program = self._words("model.onnx")[0]
        if shutil.which(program) is None:
            raise UserError(f"the latency command's program {program!r} was not found")

    def describe(self) -> dict[str, Any]:
        """The settings."""
        return {**asdict(self), "backend": self.name, "precision": "float32"}

    def identity(self) -> dict[str, Any]:
        """The command, the device and the batch."""
        return {
            "backend": self.name,
            "command": self.command,
            "device": self.device,
            "batch": self.batch,
            "precision": "float32",
        }

    def _measure_parts(self, parts: Sequence[Padded], on_timing: OnTiming | None) -> list[Timing]:
        groups = (
            self.measure_group(parts[start : start + self.together], self.seed + start)
            for start in range(0, len(parts), self.together)
        )
        return report_each(chain.from_iterable(groups), on_timing)

    def measure_group(self, parts: Sequence[Padded], seed: int) -> list[Timing]:
        """Times of parts that are run in turns, in an order by `seed`."""
        order, rng = list(range(len(parts))), random.Random(seed)
        times: list[list[float]] = [[] for _ in parts]
        with tempfile.TemporaryDirectory(prefix="latency-") as folder:
            files = [Path(folder) / f"{i}.onnx" for i in order]
            for (rows, padding), file in zip(parts, files, strict=True):
                model = onnx_rows(rows, padding=padding, batch=self.batch, seed=self.seed)
                file.write_bytes(model.SerializeToString())
            for _ in range(self.runs):
                rng.shuffle(order)
                for i in order:
                    times[i].append(self._run(files[i], _part_form(parts[i][0])))
        return [_timing(of_part) for of_part in times]

    def _words(self, file: str) -> list[str]:
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise UserError(f"the latency command {self.command!r}: {error}") from None
        return [word.replace("{onnx}", file) for word in words]

    def _run(self, file: Path, part: str) -> float:
        process = None
        try:
            with defer_sigint():  # or the command would be begun, and nobody would know it
                process = subprocess.Popen(
                    self._words(str(file)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            out, err = process.communicate(timeout=self.timeout_s)
        except BaseException as error:  # Ctrl-C too
            if process is not None:
                _kill(process)
            if isinstance(error, OSError):
                raise UserError(f"cannot run the latency command: {error}") from None
            if isinstance(error, subprocess.TimeoutExpired):
                raise _failed(part, f"timed out after {self.timeout_s:g} s") from None
            raise
        if process.returncode:
            words = last_line(err) or "nothing in its standard error"
            raise _failed(part, f"exit code {process.returncode}: {words}")
        try:
            return printed_ms(out)
        except UserError as error:
            raise _failed(part, str(error)) from None


def _failed(part: str, why: str) -> UserError:
    return UserError(f"the latency command failed on {part}: {why}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it started."""
    with suppress(ProcessLookupError, PermissionError):  # ended; or, with sudo, not ours to end
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    for stream in (process.stdout, process.stderr):
        assert stream
        stream.close()


def _part_form(rows: Rows) -> str:
    if len(rows) == 1:
        return row_form(rows[0])
    return f"{len(rows)} rows from {row_form(rows[0])} to {row_form(rows[-1])}"


def _timing(times: Sequence[float]) -> Timing:
    low, median, high = min(times), statistics.median(times), max(times)
    iqr, noisy = interquartile_range(times), high - low > WIDE * median
    return Timing(median, iqr, low, high, len(times), noisy)
