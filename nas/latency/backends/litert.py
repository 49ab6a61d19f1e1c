"""Latency with LiteRT (TensorFlow Lite), Android's own runtime, on this machine's processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar

import numpy as np

from nas.core.errors import UserError
from nas.core.typed import Among
from nas.latency.backends.device_info import describe_device, device_identity, version
from nas.latency.backends.local import Local, Rows
from nas.network.activation_ranges import assumed_ranges
from nas.network.quantization import PRECISIONS
from nas.network.tflite.model import tflite_rows
from nas.network.tflite.runtime import interpreter_type


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteRT(Local):
    """Float32 or int8 on the CPU with XNNPACK, the runtime's default; norms are folded.

    precision   of weights and activations.  In int8 the ranges of activations are assumed: the
                time does not depend on them.
    The rest is `Local`'s; threads=0 is one thread, which is what the runtime likes.
    Raises UserError where the package ai-edge-litert is absent.
    """

    precision: Annotated[str, Among(PRECISIONS)] = "float32"
    name: ClassVar[str] = "litert"

    def __post_init__(self) -> None:
        Local.__post_init__(self)
        if find_spec("ai_edge_litert") is None:
            raise UserError(
                "latency=litert needs the package ai-edge-litert: pip install -e '.[litert]'"
            )

    def describe(self) -> dict[str, Any]:
        """Settings, version and device."""
        known = {"backend": self.name, "version": version("ai-edge-litert")}
        return {**asdict(self), **known, "device": describe_device()}

    def identity(self) -> dict[str, Any]:
        """Runtime, processor, threads, batch and precision."""
        return {
            "backend": self.name,
            "version": version("ai-edge-litert"),
            **device_identity(),
            "threads": self.threads,
            "batch": self.batch,
            "precision": self.precision,
        }

    def prepare(self, rows: Rows, padding: str) -> Callable[[], object]:
        """The `invoke` of an interpreter of `rows`, with its input set."""
        ranges = assumed_ranges() if self.precision == "int8" else None
        model = tflite_rows(rows, padding=padding, batch=self.batch, seed=self.seed, ranges=ranges)
        interpreter = interpreter_type()(model_content=model, num_threads=self.threads or None)
        interpreter.allocate_tensors()
        entry = interpreter.get_input_details()[0]
        image = np.random.default_rng(self.seed).standard_normal(entry["shape"], np.float32)
        if ranges is not None:  # 16 steps a standard deviation, so that few are cut off
            image = np.rint(16 * image).clip(-128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], image)
        invoke: Callable[[], object] = interpreter.invoke
        return invoke
