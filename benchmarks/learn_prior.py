"""Learn what makes networks accurate from trainings on CIFAR-10: the prior of other searches.

    python -m benchmarks.learn_prior data=cifar10 data.root=DIR data.train=10000 data.val=2500
    python -m benchmarks.learn_prior --fit           from the trainings that are kept

Random networks of the default space, at most 3 % faster than the default target, are trained once
each.  Trainings are kept one by one in --folder, and the same command goes on.  A ridge regression
of minus the logarithm of their validation cross-entropy on the networks' traits is written to
nas/accuracy/transferred.json; its strength is that of the smallest leave-one-out error.  How it
ranks them is told by ten-fold cross-validation.

They are as fast as each other so that size is left out: two epochs prefer small networks, and what
was learnt from networks of all sizes ranked others of near-equal latency worse, once corrected by
the labels of a search.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.judges_near_target import DRAWING, Trainings, distinct
from benchmarks.rank_fidelity import DRAWS, SHARED
from benchmarks.rank_fidelity import networks as networks_of_macro
from nas.accuracy.correction import sizes_of
from nas.accuracy.predictor import predictor_fidelity
from nas.accuracy.traits import traits
from nas.accuracy.transferred import LEARNT, loss_ratios
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.serialization import dumps, loads
from nas.core.run_folder import environment, write_json
from nas.search.settings import SearchSettings
from nas.search.setup import open_search
from nas.stats.correlation import interval, kendall

RESULTS = Path(__file__).parents[1] / "results"
KEPT = RESULTS / "reference" / "benchmarks" / "learn_prior"
SEED, BUDGET = 3, "standard"
STREAMS = range(2, 8)  # of random numbers, each of some 150 networks
AT_ONCE = 20
STRENGTHS = np.geomspace(0.1, 1000, 41)
FOLDS = 10
Floats = NDArray[np.float64]


def train(args: argparse.Namespace, words: Sequence[str]) -> None:
    """Draw the networks that are missing, and train those that are not yet trained."""
    own = [f"results={RESULTS / 'benchmarks' / 'learn_prior'}", "run=drawn", *DRAWING, *words]
    with ExitStack() as stack:
        run = open_search(SearchSettings.of(*own), stack, Console(stderr=True))
        problem, path = run.problem, args.folder / "networks.json"
        archs = networks(args.folder) if path.exists() else []
        for stream in STREAMS:  # those that are drawn stay: another machine's table has others
            if len(archs) < args.networks:
                near = problem.sample_near(problem.target_ms, args.networks, SEED, stream)
                archs = distinct([*archs, *near], args.networks)
        write_json(path, [dumps(arch) for arch in archs])
        write_json(args.folder / "environment.json", environment(seed=SEED))
        archs = archs[: args.networks]
        trainings = Trainings(run, args.folder)
        for i in range(0, len(archs), AT_ONCE):  # each the largest first
            trainings(archs[i : i + AT_ONCE], BUDGET, SEED, f"budget.epochs={args.epochs}")


def networks(folder: Path) -> list[Arch]:
    """Those that were drawn."""
    return [loads(text) for text in json.loads((folder / "networks.json").read_text("utf-8"))]


def trained(folder: Path) -> tuple[list[Arch], Floats]:
    """The networks that were trained, and minus the logarithms [n] of their losses."""
    lines = (folder / "trained.jsonl").read_text(encoding="utf-8").splitlines()
    values = {
        row["key"].split("-")[-1]: row["value"] for row in map(json.loads, filter(None, lines))
    }
    archs = [arch for arch in networks(folder) if network_id(arch) in values]
    return archs, -np.log([-values[network_id(arch)] for arch in archs])


def ridge(x: Floats, y: Floats) -> tuple[float, Floats]:
    """Constant and weights for standardised `x` [n, d], by the least leave-one-out error."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    centred, errors = y - y.mean(), []
    for strength in STRENGTHS:
        shrunk = s**2 / (s**2 + strength)
        left = centred - (u * shrunk) @ (u.T @ centred)
        leverage = (u**2 * shrunk).sum(1) + 1 / len(y)
        errors.append(float(np.mean((left / (1 - leverage)) ** 2)))
    best = STRENGTHS[int(np.argmin(errors))]
    return float(y.mean()), vt.T @ (s / (s**2 + best) * (u.T @ centred))


def standardised(x: Floats) -> tuple[Floats, Floats, Floats]:
    """`x` at mean 0 and deviation 1, with centre and unit; 1 where a column does not vary."""
    centre, unit = x.mean(0), x.std(0)
    unit = np.where(unit > 0, unit, 1.0)
    return (x - centre) / unit, centre, unit


def cross_validated(x: Floats, y: Floats) -> Floats:
    """[n] What is predicted of each from the folds that it is not in."""
    found = np.empty(len(y))
    for held in np.array_split(np.random.default_rng(0).permutation(len(y)), FOLDS):
        rest = np.setdiff1d(np.arange(len(y)), held)
        z, centre, unit = standardised(x[rest])
        constant, weights = ridge(z, y[rest])
        found[held] = constant + (x[held] - centre) / unit @ weights
    return found


def fit(folder: Path) -> dict[str, Any]:
    """What transferred.json holds."""
    archs, y = trained(folder)
    rows = [traits(arch) for arch in archs]
    names = list(rows[0])
    x = np.array([[row[name] for name in names] for row in rows])
    z, *scales = standardised(x)
    _, weights = ridge(z, y)
    predicted = cross_validated(x, y)
    tau = interval(kendall, predicted, y)
    print(f"{len(y)} networks: tau {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})")
    columns = np.column_stack((*scales, weights)).round(6).tolist()
    by_weight = sorted(zip(names, columns, strict=True), key=lambda pair: -abs(pair[1][2]))
    return {
        "what": "minus the logarithm of the cross-entropy, by traits: centre, unit, weight",
        "learnt_from": json.loads((folder / "environment.json").read_text(encoding="utf-8")),
        "networks": len(y),
        "tau_of_cross_validation": [tau.value, tau.low, tau.high],
        "traits": dict(by_weight),
    }


def print_elsewhere() -> None:
    """How labels rank NAS-Bench-Macro's networks with it and without: others, trained longer."""
    truth = networks_of_macro(300, 0)
    errors, sizes = truth.accuracy / 100 - 1, sizes_of(truth.archs)
    for labels in (10, 20, 50):
        known = (truth.archs, sizes, errors, labels)
        drawn = range(DRAWS)
        without = np.mean([predictor_fidelity(*known, seed) for seed in drawn])
        within = np.mean([predictor_fidelity(*known, seed, loss_ratios()) for seed in drawn])
        print(f"NAS-Bench-Macro, {labels} labels: tau {within:.3f}, without it {without:.3f}")


def main() -> None:
    """Train what is missing, fit, write the file, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=KEPT)
    parser.add_argument("--fit", action="store_true", help="train nothing")
    args, words = parser.parse_known_args()
    if not args.fit:
        train(args, words)
    write_json(LEARNT, fit(args.folder))
    if SHARED.exists():
        print_elsewhere()


if __name__ == "__main__":
    main()
