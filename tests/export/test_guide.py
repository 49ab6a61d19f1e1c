"""The guide's commands, one after the other as they stand there, with less to do."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nas.export

GUIDE = (Path(nas.export.__file__).parent / "README.md").read_text()
FEW = ("data.train=300", "data.val=200", "data.test=100")
LESS = {
    "nas.search": (
        *FEW, "accuracy=scratch", "trials=3", "budget.epochs=1", "references=[]",
        "space.depths=[1]", "width=0.25", "table.blocks=40", "table.calibrate=4",
        "table.validate=4", "table.repeat=0", "latency.min_rounds=6", "latency.max_seconds=0.02",
    ),
    "nas.train": (*FEW, "budget.epochs=1"),
    "nas.export": (),
}  # fmt: skip


def test_from_search_to_an_answer(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert, which is not installed")
    block = re.search(r"```sh\n(.*?)```", GUIDE, re.DOTALL)[1]
    (tmp_path / "classify.py").write_text(re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)[1])
    picture = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    said = []
    for line in block.strip().splitlines():
        python, *words = shlex.split(line)
        assert python == "python"
        words += LESS.get(words[1], ())
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip().splitlines()[-1])
    assert "model_int8.tflite" in said[2]
    classes = (tmp_path / "results" / "export" / "phone" / "facts.json").read_text()
    assert all(f'"{name}"' in classes for name in said[3:])
    assert (tmp_path / "results" / "search" / "phone" / "winner.yaml").is_file()
