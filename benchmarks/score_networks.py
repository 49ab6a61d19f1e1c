"""How long 100,000 random networks take to score: all at once, one by one, and with thop.

    python benchmarks/score_networks.py        writes results/benchmarks/score_networks.json

Scored are a sum of one figure a row, as a latency table gives it, multiply-adds, parameters and
peak memory, on one thread.  One by one and thop are timed on a few networks and extrapolated;
all three take turns, the table shows medians over the rounds, and "times as long" is the median
of the ratio within a round.  Building the trellis is counted; thop counts neither latency nor
memory.  What is scored twice must be equal: sums bit by bit, thop's count but for its norms and
pools.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import operators
from nas.arch.scaling import for_resolution
from nas.core.files import write_text
from nas.core.run_folder import environment
from nas.profile.thop import count_with_thop
from nas.space.choices import Picks, fill
from nas.space.trellis.trellis import NetworkCosts, Trellis
from search_spaces.lookup import PUBLISHED
from search_spaces.mbconv import mbconv

NUM_NETWORKS, NUM_ONE_BY_ONE, NUM_BY_THOP = 100_000, 500, 20
SEED = 0
RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "score_networks.json"
SPACES = {
    "mbconv at 224 px": mbconv(),
    "mbconv x0.25 at 28 px": for_resolution(mbconv(width=0.25, channels=1, classes=10), 28),
}


@dataclass(frozen=True)
class Scored:
    """Seconds to build the trellis, to draw the genomes and to score them, and the scores."""

    build_s: float
    random_s: float
    score_s: float
    trellis: Trellis
    values: NDArray[np.float64]
    genomes: NDArray[np.int64]
    totals: NDArray[np.float64]
    costs: NetworkCosts


def score_at_once(space: Arch, seed: int) -> Scored:
    """Score NUM_NETWORKS random networks; a row's figure is a random one, as good as any."""
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    trellis = Trellis(space)
    _ = trellis.row_costs
    built = time.perf_counter()
    values = rng.random(len(trellis.rows))
    drawing = time.perf_counter()
    genomes = trellis.random(NUM_NETWORKS, rng)
    drawn = time.perf_counter()
    totals, costs = trellis.totals(values, genomes), trellis.costs(genomes)
    scored = time.perf_counter() - drawn
    return Scored(built - started, drawn - drawing, scored, trellis, values, genomes, totals, costs)


def score_one_by_one(
    space: Arch, scored: Scored, picks: list[dict[str, Any]]
) -> tuple[float, bool]:
    """(seconds a network, whether every figure equals that of all at once)."""
    known = {(row.layers, row.residual): i for i, row in enumerate(scored.trellis.rows)}
    values = scored.values.tolist()
    started, figures = time.perf_counter(), []
    for network in picks:
        arch = fill(space, network)
        counts, total = cost(arch), 0.0
        for row in operators(arch):
            total += values[known[row.layers, row.residual]]
        figures.append((total, counts.macs, counts.params, counts.peak_memory_bytes))
    seconds = (time.perf_counter() - started) / len(picks)
    ours = zip(scored.totals.tolist(), *(c.tolist() for c in scored.costs[:3]), strict=True)
    return seconds, figures == list(ours)[: len(picks)]


def count_by_thop(space: Arch, scored: Scored, picks: list[Picks]) -> tuple[float, bool]:
    """(seconds a network, whether its count is our MACs and what norms and pools add)."""
    started = time.perf_counter()
    counts = [count_with_thop(fill(space, network)) for network in picks]
    seconds = (time.perf_counter() - started) / len(picks)
    macs = [count["total"] - count["norms"] - count["pools"] for count in counts]
    return seconds, macs == scored.costs.macs[: len(picks)].tolist()


def measure(space: Arch, seed: int) -> dict[str, Any]:
    """One round: seconds for NUM_NETWORKS networks by each way, ratios, equality."""
    scored = score_at_once(space, seed)
    picks = scored.trellis.decode(scored.genomes[:NUM_ONE_BY_ONE])
    single, equal = score_one_by_one(space, scored, picks)
    thop, agrees = count_by_thop(space, scored, [*picks[:NUM_BY_THOP]])
    whole = scored.build_s + scored.score_s
    return {
        "num_rows": len(scored.trellis.rows),
        "build_s": scored.build_s,
        "random_s": scored.random_s,
        "at_once_s": scored.score_s,
        "one_by_one_s": single * NUM_NETWORKS,
        "thop_s": thop * NUM_NETWORKS,
        "one_by_one_ratio": single * NUM_NETWORKS / whole,
        "thop_ratio": thop * NUM_NETWORKS / whole,
        "equal": equal,
        "thop_agrees": agrees,
    }


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    count_with_thop(PUBLISHED["mobilenet_v1"])  # the first use imports thop and what it needs
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SPACES}
    for seed in range(SEED, SEED + rounds):
        for name, space in SPACES.items():
            runs[name].append(measure(space, seed))
    rows = {}
    for name, rounds_of in runs.items():
        rows[name] = {
            key: all(run[key] for run in rounds_of)
            if isinstance(value, bool)
            else statistics.median(run[key] for run in rounds_of)
            for key, value in rounds_of[0].items()
        }
        print(describe(name, rows[name]))
    result = {
        "networks": NUM_NETWORKS,
        "one_by_one_networks": NUM_ONE_BY_ONE,
        "thop_networks": NUM_BY_THOP,
        "rounds": rounds,
        "spaces": rows,
        "environment": environment(seed=SEED),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_text(RESULT, json.dumps(result, indent=1) + "\n")
    if not all(row["equal"] and row["thop_agrees"] for row in rows.values()):
        raise SystemExit("the ways do not give equal figures")


def describe(name: str, row: dict[str, Any]) -> str:
    """The lines of one space."""
    ways = (
        ("trellis built", row["build_s"], ""),
        ("all at once", row["at_once_s"], ""),
        ("one by one", row["one_by_one_s"], f"{row['one_by_one_ratio']:,.0f} times as long"),
        ("thop", row["thop_s"], f"{row['thop_ratio']:,.0f} times as long"),
    )
    lines = [f"{name}: {NUM_NETWORKS:,} networks, {row['num_rows']:,} distinct rows, seconds"]
    lines += [f"  {way:15}{seconds:12,.2f}  {ratio}" for way, seconds, ratio in ways]
    equal = "equal" if row["equal"] and row["thop_agrees"] else "NOT EQUAL"
    return "\n".join([*lines, f"  figures {equal}"])


if __name__ == "__main__":
    main()
