"""Latency with ONNX Runtime on this machine's processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import onnxruntime

from nas.arch.layers import inputs_of
from nas.core.typed import Among
from nas.latency.backends.device_info import describe_device, device_identity
from nas.latency.backends.local import Local, Rows
from nas.network.activation_ranges import assumed_ranges
from nas.network.onnx_graph import onnx_rows
from nas.network.quantization import PRECISIONS, quantize
from nas.network.sessions import EXACT_INT8, open_session


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntime(Local):
    """On the CPU, norms folded into convolutions, graph optimised, operators in sequence.

    precision  float32, or int8: what can be in 8 bits (`nas.network.quantization`), inputs and
               outputs in float32; ranges of activations are assumed, time does not depend on them.
    spinning   whether idle threads burn their core: a little faster with two threads or more, but
               sessions that wait their turn then slow the one that runs.
    The rest is `Local`'s.
    """

    spinning: bool = False
    precision: Annotated[str, Among(PRECISIONS)] = "float32"
    name: ClassVar[str] = "onnxruntime"

    def describe(self) -> dict[str, Any]:
        """Settings, execution provider and device."""
        known = {"provider": "CPUExecutionProvider", "device": describe_device()}
        return {**asdict(self), "backend": self.name, **known}

    def identity(self) -> dict[str, Any]:
        """Runtime, processor, threads, batch and precision."""
        return {
            "backend": self.name,
            "version": onnxruntime.__version__,
            **device_identity(),
            "threads": self.threads,
            "spinning": self.spinning,
            "batch": self.batch,
            "precision": self.precision,
            **({EXACT_INT8[0]: EXACT_INT8[1]} if self.precision == "int8" else {}),
        }

    def prepare(self, rows: Rows, padding: str) -> Callable[[], object]:
        """A session of `rows` with its input bound."""
        model = onnx_rows(rows, padding=padding, batch=self.batch, seed=self.seed)
        if self.precision == "int8":
            model = quantize(model, assumed_ranges())
        session = open_session(model.SerializeToString(), self.threads, spinning=self.spinning)
        rng = np.random.default_rng(self.seed)
        given = {
            name: rng.standard_normal((self.batch, *shape), np.float32)
            for name, shape in inputs_of(rows).items()
        }
        return lambda: session.run(None, given)
