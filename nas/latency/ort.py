"""Latency with ONNX Runtime on this machine's processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import onnxruntime

from nas.arch import Arch
from nas.errors import UserError
from nas.latency.measure import Timing, describe_device, measure
from nas.onnx_graph import onnx_model


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """One image at a time through random weights, graph optimised, on the CPU.

    threads    inside an operator; 0 for as many as ONNX Runtime likes.  Operators run in sequence.
    spinning   whether idle threads of a session burn their core: a little faster with two threads
               or more, but sessions that wait their turn then slow the one that runs.
    together   how many networks are held in memory and timed in the same rounds.
    The rest is `nas.latency.measure.measure`'s; `seed` also gives weights and image.
    Raises UserError for settings out of range.
    """

    threads: int = 1
    spinning: bool = False
    together: int = 8
    warmup: int = 5
    min_rounds: int = 12
    max_rounds: int = 1000
    rel_ci: float = 0.01
    max_seconds: float = 0.3
    seed: int = 0
    name: ClassVar[str] = "onnxruntime"

    def __post_init__(self) -> None:
        lowest = {"threads": 0, "together": 1, "warmup": 1, "min_rounds": 1, "max_rounds": 1}
        for field, least in lowest.items():
            if getattr(self, field) < least:
                raise UserError(f"{field} must be {least} or more, not {getattr(self, field)!r}")
        for field in ("rel_ci", "max_seconds"):
            if not getattr(self, field) > 0:
                raise UserError(f"{field} must be above 0, not {getattr(self, field)!r}")

    def measure(self, arch: Arch) -> Timing:
        """The time of one image through `arch`."""
        return self.measure_many([arch])[0]

    def measure_many(self, archs: Sequence[Arch]) -> list[Timing]:
        """The time of one image through each of `archs`, `together` at once, in order."""
        timings: list[Timing] = []
        for start in range(0, len(archs), self.together):
            group = archs[start : start + self.together]
            found = measure(
                {i: self._call(arch) for i, arch in enumerate(group)},
                warmup=self.warmup, min_rounds=self.min_rounds, max_rounds=self.max_rounds,
                rel_ci=self.rel_ci, max_seconds=self.max_seconds, seed=self.seed + start,
            )  # fmt: skip
            timings += [found[i] for i in range(len(group))]
        return timings

    def describe(self) -> dict[str, Any]:
        """Settings, execution provider and device."""
        return {
            "backend": self.name,
            "provider": "CPUExecutionProvider",
            **asdict(self),
            "device": describe_device(),
        }

    def _call(self, arch: Arch) -> Callable[[], object]:
        model = onnx_model(arch, seed=self.seed).SerializeToString()
        session = onnxruntime.InferenceSession(
            model, self._options(), providers=["CPUExecutionProvider"]
        )
        shape = (1, arch.channels, arch.resolution, arch.resolution)
        rng = np.random.default_rng(self.seed)
        image = {"image": rng.standard_normal(shape, np.float32)}
        return lambda: session.run(None, image)

    def _options(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "1" if self.spinning else "0"
        )
        return options
