"""The fit's response surface on data that nobody here made: MobileNetV2's published grid.

    python benchmarks/scaling_grid.py [FILE.csv]

22 networks by width (0.35 to 1.4) and resolution (96 to 224) with ImageNet top-1 accuracy,
multiply-adds and Pixel 1 milliseconds (tensorflow/models, research/slim/nets/mobilenet).  Says how
well the surface explains them, by which powers their costs grow, which are on the latency front,
and what the surface would advise at twice the cost of one of them.  Writes
results/benchmarks/scaling_grid.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.core.run_folder import environment, open_folder, write_json
from nas.scale.fit.response_surface import Data, Surface, fit_surface, quadratic, resampled
from nas.stats.pareto import non_dominated

Floats = NDArray[np.float64]
FILE = Path(__file__).parents[2] / "shared" / "data" / "mobilenet_scaling_grid.csv"
COLUMNS = ("width", "resolution", "macs_M", "top1", "pixel1_ms")
# Width and resolution of the network that advice is given for: twice its cost is in the grid.
BASELINE = (0.5, 160)
NUM_DRAWS, SEED = 2000, 0


def read(path: Path) -> dict[str, Floats]:
    """The columns of MobileNetV2's rows [22]."""
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["family"] == "mobilenet_v2"]
    return {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}


def exponents(x: Floats, cost: Floats) -> dict[str, float]:
    """Least-squares powers of width and resolution by which a cost grows, and how well they do."""
    columns = np.column_stack((x, np.ones(len(x))))
    powers, *_ = np.linalg.lstsq(columns, np.log(cost), rcond=None)
    residuals = np.log(cost) - columns @ powers
    r2 = 1 - float(residuals.var() / np.log(cost).var())
    return {"width": float(powers[0]), "resolution": float(powers[1]), "r2": r2}


def worst_left_out(x: Floats, y: Floats) -> float:
    """The largest error, relative to the error rate, on a network that was left out."""
    errors = []
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        surface = fit_surface(Data.of(x[others], y[others]))
        errors.append(abs(math.expm1(float(surface(x[i])[0] - y[i]))))
    return max(errors)


def advice(x: Floats, y: Floats, surface: Surface, powers: dict[str, float]) -> dict[str, Any]:
    """Width's share of a doubled logarithm of the cost that the surface likes best, from BASELINE.

    With the interval that networks drawn anew leave it.
    """
    data, share = Data.of(x, y), np.linspace(0, 1, 101)
    parts = np.column_stack((share / powers["width"], (1 - share) / powers["resolution"]))
    points = np.log(2) * parts + np.log([BASELINE[0], BASELINE[1] / 224])
    best = float(share[np.argmin(surface(points))])
    rng = np.random.default_rng(SEED)
    drawn = resampled(data, surface, np.zeros(len(y), np.int64), NUM_DRAWS, rng)
    winners = [share[np.argmin(quadratic(points) @ terms)] for terms in drawn]
    low, high = np.quantile(winners, [0.025, 0.975])
    beta = 2 ** (best / powers["width"])
    gamma = 2 ** ((1 - best) / powers["resolution"])
    return {
        "from": {"width": BASELINE[0], "resolution": BASELINE[1]},
        "share_of_width": best, "low": float(low), "high": float(high),
        "beta": beta, "gamma": gamma,
    }  # fmt: skip


def main() -> None:
    """Fit, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", nargs="?", type=Path, default=FILE, help="the published grid")
    path = parser.parse_args().path
    if not path.is_file():
        sys.exit(f"{path} is not here; give the file of the published grid")
    grid = read(path)
    x = np.log(np.column_stack((grid["width"], grid["resolution"] / 224)))
    y = np.log(100 - grid["top1"])
    surface = fit_surface(Data.of(x, y))
    costs = {name: exponents(x, grid[name]) for name in ("macs_M", "pixel1_ms")}
    front = non_dominated(np.column_stack((grid["top1"], grid["pixel1_ms"])), (True, False))
    order = np.argsort(grid["pixel1_ms"][front])
    result = {
        "num_networks": len(y),
        "surface": {
            "r2": surface.r2,
            "left_out_rms": math.expm1(surface.loo),
            "left_out_worst": worst_left_out(x, y),
            "ridge": surface.ridge,
            "terms": surface.terms.tolist(),
        },
        "exponents": costs,
        "latency_front": [
            [float(grid[name][front][i]) for name in ("width", "resolution")] for i in order
        ],
        "advice": {name: advice(x, y, surface, powers) for name, powers in costs.items()},
        "environment": environment(seed=SEED),
    }
    write_json(open_folder(Path("results") / "benchmarks") / "scaling_grid.json", result)
    print(json.dumps({k: v for k, v in result.items() if k != "environment"}, indent=1))


if __name__ == "__main__":
    main()
