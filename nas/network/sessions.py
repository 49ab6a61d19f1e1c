"""Sessions of ONNX Runtime on the processor."""

from __future__ import annotations

import onnxruntime

# x86 without VNNI adds pairs of 8-bit products in 16 bits, which saturate: an int8 network answers
# other classes there than anywhere else.  With this it takes kernels that are exact, and a little
# slower; elsewhere it changes nothing.  (onnxruntime_session_options_config_keys.h, and "When and
# why do I need to try U8U8" in its guide to quantisation.)
EXACT_INT8 = ("session.x64quantprecision", "1")


def open_session(
    model: bytes, threads: int = 0, *, spinning: bool = False
) -> onnxruntime.InferenceSession:
    """A session of `model` on `threads` threads, or one a core, operators in sequence.

    `spinning`: idle threads burn their core, which is a little faster with two threads or more.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.add_session_config_entry(*EXACT_INT8)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
