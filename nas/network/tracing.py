"""Whether torch looks at what is done, and not only at what comes out."""

from __future__ import annotations

import torch


def is_traced() -> bool:
    """Whether what is called now is recorded or compiled, and should be plain operations."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # torch's gap
    return bool(tracing or torch.compiler.is_compiling())
