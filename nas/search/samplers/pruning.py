"""Which trainings to stop early, where a front of value and known cost is sought.

Optuna's pruners refuse studies of two objectives.  Costs are known here, so what a network must
reach is known as well: more than every network told that costs no more.  A training stops at a
rung, a number of epochs, where its value there makes that very unlikely.

    least = thresholds(rung_values, final_values, costs, new_costs)  # stop where a value is below
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from nas.search.metrics import Metrics
from nas.search.samplers.genomes import Floats

# A training stops where it enters the front with a probability below this.  Of twenty that are
# stopped one is then lost at most: the share of a quick run's trainings in which another training
# seed decides on which side of the front a network falls is larger.
CHANCE = 0.05
# Complete trainings before any is stopped: with two numbers of the line known from them, the
# spread around it is known from six more, and Student's t is within a fifth of the normal's.
MIN_COMPLETE = 8


def thresholds(rung: ArrayLike, final: ArrayLike, costs: ArrayLike, new: ArrayLike) -> Floats:
    """The least value [m] at a rung with which networks of costs `new` [m] should go on.

    rung, final, costs   [n] of trainings that ran to their end; values are higher the better

    Final values are taken to lie on a line in the value at the rung, with normal noise.  A
    threshold is where the upper end of the one-sided prediction interval at CHANCE reaches the
    front (its inversion is Fieller's, 1954).  It is -inf, and nothing stops, below MIN_COMPLETE
    trainings, where the rung says nothing certain of the end, and for the cheapest networks.
    """
    x, y, cost = (np.asarray(column, np.float64) for column in (rung, final, costs))
    best = [y[cost <= c].max(initial=-math.inf) for c in np.asarray(new, np.float64)]
    if len(x) < MIN_COMPLETE or not np.ptp(x):
        return np.full(len(best), -math.inf)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float((x - x.mean()) @ y) / spread
    errors = y - y.mean() - slope * (x - x.mean())
    width = stdtrit(len(x) - 2, 1 - CHANCE) ** 2 * float(errors @ errors) / (len(x) - 2)
    surplus = slope**2 - width / spread  # positive where the slope is certain to be one
    if slope <= 0 or surplus <= 0:
        return np.full(len(best), -math.inf)
    rise = np.array(best) - y.mean()
    finite = np.where(np.isfinite(rise), rise, 0.0)
    # (rise - slope * u) ** 2 = width * (1 + 1 / n + u ** 2 / spread), its smaller root
    root = np.sqrt(width * (finite**2 / spread + surplus * (1 + 1 / len(x))))
    least = x.mean() + (slope * finite - root) / surplus
    return np.where(np.isfinite(rise), least, -math.inf)


def rungs(epochs: int) -> tuple[int, ...]:
    """After how many of `epochs` to look: a quarter and half of them, none below one.

    Halves as in successive halving (Jamieson and Talwalkar 2016); what the earlier rungs of a
    long training say of its end is little, and each costs a pass over the validation images.
    """
    return tuple(sorted({epochs // 4, epochs // 2} - {0}))


@dataclass(frozen=True)
class Pruning:
    """Thresholds of networks about to be trained, by rung, from what a study knows by then.

    known    metrics by id, as `nas.search.study.Study` has them; read anew at each call
    steps    the rungs, in epochs
    exempt   ids of networks that are trained to the end whatever comes
    """

    known: Mapping[str, Metrics]
    steps: tuple[int, ...]
    exempt: frozenset[str] = frozenset()

    def __call__(self, new: Sequence[Metrics]) -> list[dict[int, float]]:
        """{epochs: least value} of each of `new`, plain numbers to send to a worker."""
        complete = [m for m in self.known.values() if m.state == "complete"]
        by_rung = {}
        for step in self.steps:
            told = [m for m in complete if str(step) in m.rungs]
            columns = [(m.rungs[str(step)], m.score, m.latency_ms) for m in told]
            rung, final, costs = np.array(columns, np.float64).reshape(-1, 3).T
            by_rung[step] = thresholds(rung, final, costs, [m.latency_ms for m in new]).tolist()
        return [
            {step: -math.inf if m.id in self.exempt else by_rung[step][i] for step in self.steps}
            for i, m in enumerate(new)
        ]
