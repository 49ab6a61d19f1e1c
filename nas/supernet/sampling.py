"""The part of a space that limits leave, as a supernet's training draws from it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.core.errors import UserError
from nas.space.choices import Label
from nas.space.trellis.trellis import Trellis

# Genomes (n, choices) of `Trellis(space)` -> whether each network may be asked for, (n,).
FeasibleMask = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
DRAWN = 100_000  # random networks, of which those that are allowed are kept; 0.4 s
FEW = 1000  # networks, of which each is drawn as often as every other


class FeasibleSampler:
    """Random networks of `space` that `within` allows, by their MACs; `seed` draws them.

    Random picks crowd around the middle of a space, and a search asks most about its cheap end:
    of the default space for 28 pixels, 7 % of random networks are below 1 MMAC, and 60 % of what
    a search tried.  So networks are drawn evenly over the logarithm of their MACs; but where they
    are few, the gaps between them would decide how often each comes, and all come alike.
    `digest` differs between any two that draw other networks.  Raises UserError where none is
    allowed.
    """

    def __init__(self, space: Arch, within: FeasibleMask, seed: int = 0) -> None:
        self.trellis = Trellis(space)
        drawn = self.trellis.random(DRAWN, np.random.default_rng(seed))
        drawn = drawn[within(drawn)]
        if not len(drawn):
            raise UserError(
                f"none of {DRAWN:,} random networks is within the limits, so no supernet can be "
                "trained for them: raise the limits, or take accuracy=scratch"
            )
        few = np.unique(drawn, axis=0)
        self.alike = len(few) <= FEW
        drawn = few if self.alike else drawn
        macs = self.trellis.costs(drawn).macs
        order = np.argsort(macs, kind="stable")
        self.genomes = drawn[order]
        self.log_macs = np.log(np.maximum(macs[order], 1))
        content = np.ascontiguousarray(self.genomes).tobytes()
        self.digest = hashlib.sha256(content).hexdigest()[:16]

    @property
    def ends(self) -> list[dict[str, Label]]:
        """Picks of the largest and the smallest."""
        return self.trellis.decode(self.genomes[[-1, 0]])

    def draw(self, number: int, rng: random.Random) -> list[dict[str, Label]]:
        """`number` picks, one from each of as many equal parts of the range of log MACs.

        Where networks are few, from as many equal parts of them in the order of their MACs.
        """
        shares = np.array([(part + rng.random()) / max(number, 1) for part in range(number)])
        if self.alike:
            found = (shares * len(self.genomes)).astype(int)
        else:
            low, high = self.log_macs[[0, -1]]
            found = np.searchsorted(self.log_macs, low + shares * (high - low))
        return self.trellis.decode(self.genomes[np.minimum(found, len(self.genomes) - 1)])
