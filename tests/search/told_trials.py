"""A study in memory of the default space, with random networks told, for tests of the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from benchmarks.overhead import BATCH, LATENCY_SLACK, TABLE, TARGET_MS
from nas.arch.scaling import for_resolution
from nas.latency.lookup import Lookup
from nas.search.samplers.for_space import KnownCost
from nas.space.constrained import ConstrainedSpace
from nas.space.trellis.trellis import Trellis
from search_spaces.mbconv import mbconv

__all__ = ["BATCH", "LATENCY_SLACK", "TARGET_MS", "Trials", "default_space"]
DRAWN = 4000  # random networks at a time

Ints = NDArray[np.int64]


def default_space() -> ConstrainedSpace:
    """The default space for the embedded images, within its latency limit."""
    space = for_resolution(mbconv(width=0.25, channels=1, classes=10, dropout=0.0), 28)
    trellis, table = Trellis(space), Lookup(str(TABLE))
    row_ms = np.array([table.row_ms(row, space.resolution) for row in trellis.rows])
    return ConstrainedSpace(trellis, row_ms, table.whole_ms, LATENCY_SLACK * TARGET_MS)


def random_networks(space: ConstrainedSpace, num: int, seed: int = 0) -> Ints:
    """Genomes [num, choices] of different random networks within the limit."""
    rng = np.random.default_rng(seed)
    networks: dict[bytes, Ints] = {}
    while len(networks) < num:
        genomes = space.trellis.random(DRAWN, rng)
        genomes = genomes[space.allows(genomes)]
        for ids, genome in zip(space.trellis.networks(genomes), genomes, strict=True):
            networks.setdefault(ids.tobytes(), genome)
    return np.array(list(networks.values())[:num]).reshape(num, len(space.trellis.keys))


@dataclass
class Trials:
    """A study in memory of a space to which trials were told."""

    space: ConstrainedSpace
    study: optuna.Study
    distributions: dict[str, BaseDistribution] = field(init=False)

    def __post_init__(self) -> None:
        labels = self.space.trellis.labels
        self.distributions = {key: CategoricalDistribution(own) for key, own in labels.items()}

    @classmethod
    def told(cls, space: ConstrainedSpace, num: int) -> Trials:
        """With `num` random networks told, and the sampler that a search has by default."""
        study = optuna.create_study(
            directions=["maximize", "minimize"],
            sampler=KnownCost().for_space(space, target_ms=TARGET_MS, seed=0),
        )
        trials = cls(space, study)
        genomes = random_networks(space, num)
        picks, values = space.trellis.decode(genomes), trials.values(genomes)
        for params, pair in zip(picks, values, strict=True):
            study.add_trial(
                optuna.create_trial(params=params, distributions=trials.distributions, values=pair)
            )
        return trials

    def values(self, genomes: Ints) -> list[list[float]]:
        """Log multiply-adds and milliseconds of each of `genomes`."""
        logs = np.log(self.space.trellis.costs(genomes).macs)
        return [list(pair) for pair in zip(logs.tolist(), self.space.ms(genomes), strict=True)]

    def ask(self) -> optuna.Trial:
        """The next trial."""
        return self.study.ask(dict(self.distributions))

    def tell(self, trials: Sequence[optuna.Trial]) -> None:
        """Evaluate `trials`."""
        genomes = self.space.trellis.encode([trial.params for trial in trials])
        for trial, values in zip(trials, self.values(genomes), strict=True):
            self.study.tell(trial, values)
