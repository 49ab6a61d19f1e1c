"""Problems for benchmarks/samplers.py: a table, and a space too large for one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution

from nas.search.samplers.genomes import Batch, Genomes
from nas.space.trellis.trellis import Trellis
from nas.stats.pareto import hypervolume, non_dominated
from search_spaces.mbconv import mbconv

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TABLE = Path(__file__).parents[2] / "shared" / "data" / "nas_bench_macro.csv.gz"


@dataclass(frozen=True)
class Problem:
    """A front to find: highest value, lowest cost.

    reference   (value, cost) that bound the hypervolume; `volume` is that of the true front
    """

    name: str
    search_space: dict[str, CategoricalDistribution | IntDistribution]
    cost: Callable[[Batch], Floats]
    value: Callable[[Batch], Floats]
    reference: tuple[float, float]
    volume: float
    canonical: Callable[[Batch], Sequence[Hashable]] | None = None
    features: Callable[[Batch], Floats] | None = None


def nas_bench_macro(column: str = "mean_acc") -> Problem:
    """Accuracy against MACs of all 6,561 codes; reference 80 % and the largest MACs.

    The accuracy is the mean of three trainings, or that of one: column acc1, acc2 or acc3.
    """
    table = pd.read_csv(TABLE, dtype={"arch": str})
    row = {arch: i for i, arch in enumerate(table["arch"])}
    accuracy, macs = table[column].to_numpy(), table["flops"].to_numpy(np.float64)
    params = table["params"].to_numpy(np.float64)
    measured = table[["flops", "params", "acc1", "acc2", "acc3"]]
    networks = list(measured.itertuples(index=False, name=None))  # copies share all of these
    names = [f"layer{i}" for i in range(8)]

    def rows(batch: Batch) -> list[int]:
        return [row["".join(picks[name] for name in names)] for picks in batch]

    def features(batch: Batch) -> Floats:
        digits = np.array([[int(picks[name]) for name in names] for picks in batch])
        sums = [digits[:, a:b].sum(axis=1) for a, b in ((0, 2), (2, 5), (5, 8))]
        return np.column_stack((np.log(params[rows(batch)]), *sums))

    reference = (80.0, float(macs.max()))
    volume = hypervolume(np.column_stack((accuracy, macs)), reference, (True, False))
    return Problem(
        "NAS-Bench-Macro",
        {name: CategoricalDistribution(("0", "1", "2")) for name in names},
        lambda batch: macs[rows(batch)],
        lambda batch: accuracy[rows(batch)],
        reference,
        volume,
        lambda batch: [networks[i] for i in rows(batch)],
        features,
    )


def mbconv_macs() -> Problem:
    """A made-up accuracy against MACs over the default space of 10^19 genomes.

    It saturates with log MACs, and every label and every pair of labels of neighbouring choices
    adds its own to it, unless their stage is skipped.  The true front is unknown: `volume` is
    that of the best one that a long evolution on the function itself finds.
    """
    trellis = Trellis(mbconv())
    rng, sizes = np.random.default_rng(0), [len(labels) for labels in trellis.labels.values()]
    effects = [rng.normal(0, 0.15, n) for n in sizes]
    pairs = [rng.normal(0, 0.1, two) for two in pairwise(sizes)]
    stages = [key.rpartition(".")[0].removesuffix(".blocks") for key in trellis.keys]
    depth = [trellis.keys.index(f"{s}.depth") if f"{s}.depth" in trellis.keys else -1
             for s in stages]  # fmt: skip
    depths = {i: np.array(trellis.labels[trellis.keys[i]], float) for i in set(depth) - {-1}}

    def values(genomes: Ints) -> Floats:
        there = np.ones(genomes.shape)
        for j, i in enumerate(depth):
            if i >= 0:
                there[:, j] = depths[i][genomes[:, i]] > 0
        score = 0.7 * np.log(trellis.costs(genomes).macs / 1e6)
        for j, effect in enumerate(effects):
            score += there[:, j] * effect[genomes[:, j]]
        for j, pair in enumerate(pairs):
            both = there[:, j] * there[:, j + 1]
            score += both * pair[genomes[:, j], genomes[:, j + 1]]
        return np.asarray(95 - 40 * np.exp(-0.5 * score))

    space: dict[str, CategoricalDistribution | IntDistribution] = {
        key: CategoricalDistribution(labels) for key, labels in trellis.labels.items()
    }

    def cost(batch: Batch) -> Floats:
        return trellis.costs(trellis.encode(batch)).macs.astype(float)

    front = _evolved(Genomes(space, cost, None, None), values, trellis)
    # one random network in ten is no better than the reference
    low = float(np.quantile(values(trellis.random(2000, rng)), 0.1))
    reference = (low, float(front[:, 1].max()))
    return Problem(
        "mbconv, made-up accuracy",
        space,
        cost,
        lambda batch: values(trellis.encode(batch)),
        reference,
        hypervolume(front, reference, (True, False)),
        lambda batch: [ids.tobytes() for ids in trellis.networks(trellis.encode(batch))],
    )


def _evolved(genomes: Genomes, values: Callable[[Ints], Floats], trellis: Trellis) -> Floats:
    """Values and MACs [n, 2] of the best front that 200 rounds of 500 children find."""
    rng = np.random.default_rng(1)
    parents = genomes.uniform(2000, rng)
    for _ in range(200):
        every = np.concatenate((parents, genomes.children(parents, 500, rng)))
        every = np.unique(every, axis=0)
        points = np.column_stack((values(every), trellis.costs(every).macs))
        good = non_dominated(points, (True, False))
        parents, points = every[good], points[good]
    return np.asarray(points, np.float64)
