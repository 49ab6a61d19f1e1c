"""Every path that a GPU takes, once: what passes, what fails, and how quick it is.

    python -m benchmarks.gpu                         all sections, in ten minutes
    python -m benchmarks.gpu training latency        these alone
    python -m benchmarks.gpu device=cpu quick        a rehearsal without a GPU, in two minutes

`deadline=540`: no section begins after so many seconds.  Each section stands alone; what it raises
is its failure.  Writes results/benchmarks/gpu_<card>.json after each.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_bench import Bench
from benchmarks.gpu_sections import SECTIONS
from nas.core.errors import UserError
from nas.core.run_folder import environment, folder_name, write_json

FOLDER = Path(__file__).parents[1] / "results" / "benchmarks"


def main(words: Sequence[str]) -> list[dict[str, Any]]:
    """Run the sections named in `words`, or all; what was found, section by section."""
    values = dict(word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words if "=" not in word and word != "quick"]
    if unknown := [*set(names) - set(SECTIONS), *set(values) - {"device", "deadline", "results"}]:
        there = ", ".join(SECTIONS)
        raise UserError(f"no such section or setting: {unknown[0]} (there are: {there})")
    start, deadline = time.perf_counter(), float(values.get("deadline", 540))
    device = torch.device(values.get("device", "cuda"))
    card = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    path = Path(values.get("results", FOLDER)) / f"gpu_{folder_name(card)}.json"
    torch_says = {"cuda": torch.version.cuda, "tf32": torch.backends.cudnn.allow_tf32}
    results: list[dict[str, Any]] = []
    for name in names or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            bench, began = Bench(device, "quick" in words, Path(folder)), time.perf_counter()
            print(f"== {name}", flush=True)
            if began - start > deadline:
                bench.check(name, False, "no time was left")
            else:
                try:
                    SECTIONS[name](bench)
                except Exception:
                    bench.check(name, False, traceback.format_exc()[-1500:])
        seconds = round(time.perf_counter() - began, 1)
        results.append({"section": name, "seconds": seconds, "results": bench.found})
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"card": card, "torch": torch_says, "environment": environment()}
        write_json(path, facts | {"quick": bench.quick, "sections": results})
    found = [result["passed"] for one in results for result in one["results"] if "passed" in result]
    print(f"{sum(found)} passed, {len(found) - sum(found)} failed · wrote {path}")
    return results


if __name__ == "__main__":
    ended = main(sys.argv[1:])
    sys.exit(any(not result.get("passed", True) for one in ended for result in one["results"]))
