"""How right latency tables are, whether two agree, and what a plain sum of blocks would give.

    python benchmarks/latency_table.py [space=mbconv resolution=28 latency=onnxruntime ...]

Builds the table of `python -m nas.latency` twice, in fresh folders, and compares the two: times
of blocks, and the ranking of random networks.  Then times every block of some networks alone and
sums them, with one affine fit, which is what tables elsewhere do.  Writes
results/benchmarks/latency_table_<space>_<backend>.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.arch.operators import operators
from nas.core.run_folder import environment, open_folder, write_json
from nas.latency.run import open_space
from nas.latency.settings import LatencySettings
from nas.latency.store import saved_table
from nas.latency.table import LatencyTable
from nas.latency.timing_journal import part_key
from nas.space.bounds import trellis_of
from nas.space.choices import fill
from nas.stats.correlation import fraction_within, mape, spearman

NAIVE = 20  # networks whose blocks are all timed alone
RANKED = 100  # random networks that both tables rank
Floats = NDArray[np.float64]


def build(folder: Path, words: list[str]) -> tuple[LatencyTable, dict[str, Any], pd.DataFrame]:
    """The table, its summary and its blocks, of the command run in `folder`."""
    subprocess.run([sys.executable, "-m", "nas.latency", *words], cwd=folder, check=True)
    (found,) = (folder / "results" / "latency").iterdir()
    table = saved_table(found)
    assert table is not None
    summary = json.loads((found / "summary.json").read_text(encoding="utf-8"))
    return table, summary, pd.read_csv(found / "blocks.csv")


def agreement(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """How much the times of the same blocks differ between two tables."""
    figures = ["median_ms", "iqr_ms", "ci_low_ms", "ci_high_ms", "runs", "noisy"]
    keys = [column for column in one.columns if column not in figures]
    both = one.merge(other, on=keys, suffixes=("", "_again"))
    off = np.abs(both["median_ms_again"] / both["median_ms"] - 1)
    return {
        "blocks": len(both),
        "within_5": float((off <= 0.05).mean()),
        "median_difference": float(off.median()),
        "largest_difference": float(off.max()),
    }


def plain_sum(settings: LatencySettings) -> dict[str, float]:
    """The errors of a sum of blocks timed alone, after the best affine fit to these networks."""
    space, _ = open_space(settings)
    trellis, device = trellis_of(space), settings.latency.make()
    genomes = trellis.random(NAIVE, np.random.default_rng(1))
    networks = [operators(fill(space, picks)) for picks in trellis.decode(genomes)]
    alone = {part_key([row]): (row,) for rows in networks for row in rows}
    timings = device.measure_rows([*alone.values(), *networks], space.padding)
    ms = dict(zip(alone, (t.median_ms for t in timings), strict=False))
    sums = np.array([sum(ms[part_key([row])] for row in rows) for rows in networks])
    whole = np.array([t.median_ms for t in timings[len(alone) :]])
    fitted: Floats = np.polyval(np.polyfit(sums, whole, 1), sums)
    return {
        "networks": NAIVE,
        "blocks": len(alone),
        "mape_unfitted": mape(sums, whole),
        "mape": mape(fitted, whole),
        "within_5": fraction_within(0.05)(fitted, whole),
        "spearman": spearman(fitted, whole),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="settings of nas.latency, name=value")
    words = parser.parse_args().words
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        one, summary, blocks = build(Path(first), words)
        other, again, blocks_again = build(Path(second), words)
    settings = LatencySettings.of(*words)
    space, _ = open_space(settings)
    trellis = trellis_of(space)
    genomes = trellis.random(RANKED, np.random.default_rng(2))
    archs = [fill(space, picks) for picks in trellis.decode(genomes)]
    ranks = [np.array([t.median_ms for t in table.measure_many(archs)]) for table in (one, other)]
    result = {
        "validations": [summary["validation"], again["validation"]],
        "seconds": [summary["seconds"], again["seconds"]],
        "num_blocks": summary["num_blocks"],
        "num_keys": summary["num_keys"],
        "macs_spearman": summary["macs_spearman"],
        "blocks_of_two_runs": agreement(blocks, blocks_again),
        "ranking_of_two_runs": spearman(*ranks),
        "plain_sum": plain_sum(settings),
        "settings": {"space": settings.space.name, "resolution": space.resolution},
        "environment": environment(seed=0, latency=one.identity),
    }
    folder = open_folder(Path("results") / "benchmarks")
    name = f"latency_table_{settings.space.name}_{settings.latency.name}"
    write_json(folder / f"{name}.json", result)
    print(json.dumps({k: v for k, v in result.items() if k != "environment"}, indent=1))


if __name__ == "__main__":
    main()
