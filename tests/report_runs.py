"""Run folders for tests of the report: rows as a search has them, and kept runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "results" / "reference" / "search"  # of the default search, without its journal
INHERITED = ROOT / "results" / "reference" / "inherited"  # its front and its cuts only
OLD = ROOT / "tests" / "old_runs" / "search_blend_ended" / "began" / "results" / "search"
OLD_RUN = OLD / "nas_bench_macro"  # of version 0.1
ARCH = "r28 stem_k3_s2_c16_hswish | mbconv_k5_s2_e6_c{}_se0.25_hswish_d2 | head_c576_hswish"
ABOUT = {"space": "mbconv", "data": "pictures", "images": [10, 4, 4], "resolution": 28,
         "budget": "quick", "latency": "onnxruntime", "sampler": "nsga2", "seed": 0,
         "seconds": 3.0}  # fmt: skip


def trial(number: int, accuracy: float, latency_ms: float, **more: Any) -> dict[str, Any]:
    """One trained trial; MACs fall as latency rises, so that each axis has another front."""
    return {
        "number": number, "id": f"net{number}", "state": "complete", "name": "",
        "accuracy": accuracy, "accuracy_se": 0.004, "test_accuracy": accuracy,
        "test_accuracy_se": 0.003, "latency_ms": latency_ms,
        "macs": (10 - latency_ms) * 1e6 if latency_ms == latency_ms else 1e6, "params": 456_000,
        "peak_memory_bytes": 96 * 1024, "score": accuracy, "seconds": 84.0, "reason": "",
        "arch": ARCH.format(8 * (number + 1)),
    } | more  # fmt: skip


def untrained(number: int, state: str, reason: str, latency_ms: float = np.nan) -> dict[str, Any]:
    unknown = dict.fromkeys(("accuracy_se", "test_accuracy", "score", "seconds"), np.nan)
    return trial(number, np.nan, latency_ms, state=state, reason=reason, **unknown)


SEARCH = [
    trial(0, 0.80, 1.0),
    trial(1, 0.90, 3.0),
    trial(2, 0.88, 2.0),
    trial(3, 0.79, 2.5),  # dominated by 0 and by 2
    trial(4, 0.99, 0.5, state="duplicate"),  # never counted twice, hence never drawn
    untrained(5, "infeasible", "latency 4 ms is over the limit of 3.5 ms", 4.0),
    untrained(6, "failed", "loss became nan"),
]


def write_run(folder: Path, rows: list[dict[str, Any]], **summary: Any) -> Path:
    """A run folder of those trials; `summary` is what its summary.json says beside ABOUT."""
    folder.mkdir(exist_ok=True, parents=True)
    pd.DataFrame(rows, columns=list(SEARCH[0])).to_csv(folder / "trials.csv", index=False)
    if winner := summary.pop("winner_id", None):
        summary["winner"] = {"id": winner}
    (folder / "summary.json").write_text(json.dumps(ABOUT | summary))
    return folder
