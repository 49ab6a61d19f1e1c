"""The part of a space that limits leave, as a supernet's training samples it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.core.errors import UserError
from nas.space.choices import Label, Picks
from nas.space.trellis.trellis import Trellis
from nas.supernet.largest import extreme_picks

# Genomes (n, choices) of `Trellis(space)` -> whether each network may be asked for (n,)
FeasibleMask = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
NUM_DRAWS = 100_000  # random networks, of which the feasible ones are kept; 0.4 s
MAX_UNIFORM = 1000  # networks; up to so many each is sampled as often as every other


class FeasibleSampler:
    """Samples the feasible networks of `space` evenly over log MACs, few networks all alike.

    A search asks most about the cheap end of a space: of the default space for 28 pixels, 7 % of
    random networks are below 1 MMAC, and 60 % of what a search tried.  `digest` tells samplers of
    different networks apart; `ends` are picks of the largest network, of most parameters, and the
    smallest, of fewest MACs.  Raises UserError where no network is feasible.
    """

    def __init__(self, space: Arch, feasible: FeasibleMask, seed: int = 0) -> None:
        self.trellis, self.feasible = Trellis(space), feasible
        genomes = self.trellis.random(NUM_DRAWS, np.random.default_rng(seed))
        genomes = genomes[feasible(genomes)]
        if not len(genomes):
            raise UserError(
                f"none of {NUM_DRAWS:,} random networks is within the limits, so no supernet can "
                "be trained for them: raise the limits, or take accuracy=scratch"
            )
        distinct = np.unique(genomes, axis=0)
        self.uniform = len(distinct) <= MAX_UNIFORM
        genomes = distinct if self.uniform else genomes
        macs = self.trellis.costs(genomes).macs
        order = np.argsort(macs, kind="stable")
        self.genomes = genomes[order]
        self.log_macs = np.log(np.maximum(macs[order], 1))
        self.digest = hashlib.sha256(self.genomes.tobytes()).hexdigest()[:16]
        self.ends = self._ends()

    def _ends(self) -> list[dict[str, Label]]:
        """Of the drawn networks and the ends of the whole space, which draws do not reach."""
        trellis = self.trellis
        picks = [extreme_picks(trellis, largest=largest) for largest in (True, False)]
        picks.append(trellis.extreme(trellis.row_costs.macs, most=True)[1])
        found = trellis.encode(picks)
        found = np.concatenate((self.genomes, found[self.feasible(found)]))
        costs = trellis.costs(found)
        largest = np.lexsort((costs.macs, costs.params))[-1]
        return trellis.decode(found[[largest, costs.macs.argmin()]])

    def allows(self, picks: Picks) -> bool:
        """Whether that network is feasible."""
        return bool(self.feasible(self.trellis.encode([picks]))[0])

    def sample(self, number: int, rng: random.Random) -> list[dict[str, Label]]:
        """`number` picks, one from each of as many equal parts of the range."""
        shares = np.array([(part + rng.random()) / max(number, 1) for part in range(number)])
        if self.uniform:
            places = (shares * len(self.genomes)).astype(int)
        else:
            low, high = self.log_macs[[0, -1]]
            places = np.searchsorted(self.log_macs, low + shares * (high - low))
        places = np.minimum(places, len(self.genomes) - 1)
        if not self.uniform:  # of networks of equal MACs any
            ends = np.searchsorted(self.log_macs, self.log_macs[places], "right")
            places += np.array([rng.randrange(tied) for tied in ends - places], int)
        return self.trellis.decode(self.genomes[places])
