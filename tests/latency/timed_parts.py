"""Small networks to time, and a command that times them."""

from __future__ import annotations

import sys
from pathlib import Path

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import operators

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
