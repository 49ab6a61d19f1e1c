"""What trainings on other images taught of networks that are as fast as each other.

transferred.json is made by `python -m benchmarks.learn_prior`, and says of what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.accuracy.traits import traits
from nas.arch.arch import Arch

LEARNT = Path(__file__).with_name("transferred.json")
# Standard deviations of a trait, beyond which hardly a network was that it was learnt from: what
# is farther away counts as if it were there.
FARTHEST = 3.0


@dataclass(frozen=True)
class LossRatios:
    """How many times the cross-entropy of an ordinary network others have, by their traits.

    traits   (centre, unit, weight) of each, by name: the weights add up to minus the logarithm
    """

    traits: Mapping[str, Sequence[float]]

    def __call__(self, archs: Sequence[Arch]) -> NDArray[np.float64]:
        """[n] Of n networks."""
        centre, unit, weight = np.array(list(self.traits.values()), np.float64).T
        has = [traits(arch) for arch in archs]
        values = np.array([[row[name] for name in self.traits] for row in has], np.float64)
        near = np.clip((values - centre) / unit, -FARTHEST, FARTHEST)
        return np.asarray(np.exp(-near @ weight))


@cache
def loss_ratios() -> LossRatios:
    """Those that come with the package."""
    return LossRatios(json.loads(LEARNT.read_text(encoding="utf-8"))["traits"])
