"""LiteRT's interpreter, without what it says to stderr at its first model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from nas.arch.arch import Arch, Stage
from nas.network.tflite.model import tflite_model

SMALLEST = Arch((Stage(8),), resolution=8)


@cache
def interpreter_type() -> Any:
    """The runtime's `Interpreter`, once it has said that it uses XNNPACK.

    It says so to stderr at the first model of a process, and no setting stops it; a known model is
    loaded for that, so that no other message is lost.
    """
    from ai_edge_litert.interpreter import Interpreter

    with _silent_stderr():
        Interpreter(model_content=tflite_model(SMALLEST)).allocate_tensors()
    return Interpreter


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Nothing is written to the process's stderr, not by libraries in C++ either."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
