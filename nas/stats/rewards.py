"""What a search maximises, and how much of it a network of known cost can be expected to add.

The scalar objectives are straight lines in a value (accuracy, higher is better), by a cost
(latency) and a target cost in the same unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from nas.core.checks import check_option
from nas.core.errors import UserError
from nas.stats.pareto import non_dominated

Floats = NDArray[np.float64]
Objective = Callable[[ArrayLike, ArrayLike], Floats]  # (values [n], costs [n]) -> [n]

# MnasNet, section 3: doubling the latency is to be worth 5 % relative accuracy, and
# -log2(1.05) = -0.0704.  MobileNetV3-Small (Howard et al. 2019, section 4.1) used -0.15.
MNAS_EXPONENT = -0.07
# TuNAS, tunas/search_space_utils.py, for a quality from 0 to 1.
TUNAS_WEIGHT = -0.10


def mnas(values: ArrayLike, costs: ArrayLike, target: float, w: float = MNAS_EXPONENT) -> Floats:
    """MnasNet's soft reward value * (cost / target) ** w (Tan et al. 2019, section 3)."""
    return np.asarray(values, np.float64) * _ratio(costs, target) ** w


def mnas_hard(values: ArrayLike, costs: ArrayLike, target: float) -> Floats:
    """MnasNet's hard reward value * min(1, target / cost): alpha = 0, beta = -1."""
    return np.asarray(values, np.float64) * np.minimum(1.0, 1 / _ratio(costs, target))


def tunas(
    values: ArrayLike, costs: ArrayLike, target: float, weight: float = TUNAS_WEIGHT
) -> Floats:
    """TuNAS's value + weight * |cost / target - 1|, values from 0 to 1 (Bender et al. 2020)."""
    return np.asarray(values, np.float64) + weight * np.abs(_ratio(costs, target) - 1)


def limit(values: ArrayLike, costs: ArrayLike, target: float) -> Floats:
    """The value itself where the cost is within the target, -inf elsewhere (MnasNet's problem)."""
    return np.where(_ratio(costs, target) <= 1, np.asarray(values, np.float64), -np.inf)


OBJECTIVES: dict[str, Callable[..., Floats] | None] = {
    "pareto": None,  # there the gain of a network is the hypervolume it adds to the front
    "mnas": mnas,
    "mnas_hard": mnas_hard,
    "tunas": tunas,
    "limit": limit,
}


def power_law(values: ArrayLike, costs: ArrayLike, target: float) -> tuple[float, float]:
    """(exponent, value at cost `target`) of the front of networks [n], on its least-squares line.

    With the exponent -d log value / d log cost as its w, MnasNet's reward of the front's own
    points is equal on average.  UserError where the front has fewer than two points.
    """
    values, costs = np.asarray(values, np.float64), np.asarray(costs, np.float64)
    front = non_dominated(np.column_stack((values, costs)), (True, False))
    front &= (values > 0) & (costs > 0)
    x, y = np.log(costs[front]), np.log(values[front])
    if len(x) < 2 or not np.ptp(x):
        raise UserError(
            f"no exponent can be read from a front of {len(np.unique(x))} point(s) (allowed: 2 or "
            "more with positive values); give the exponent, or run more trials first"
        )
    slope = float(np.polyfit(x - x.mean(), y, 1)[0])
    return -slope, float(np.exp(y.mean() + slope * (np.log(target) - x.mean())))


@dataclass(frozen=True)
class Calibrated:
    """mnas or tunas with what a front itself says that cost is worth, read anew each time.

    TuNAS's weight is the exponent times the front's value at the target: with it the reward falls
    as much with the cost there.
    """

    name: str
    target: float

    def __post_init__(self) -> None:
        check_option("objective with exponent=auto", self.name, ("mnas", "tunas"))

    def at(self, values: ArrayLike, costs: ArrayLike) -> Objective:
        """The objective by networks [n]; the published one until their front has two points."""
        try:
            w, value = power_law(values, costs, self.target)
        except UserError:
            return partial(mnas if self.name == "mnas" else tunas, target=self.target)
        if self.name == "mnas":
            return partial(mnas, target=self.target, w=w)
        return partial(tunas, target=self.target, weight=w * value)


def _ratio(costs: ArrayLike, target: float) -> Floats:
    costs = np.asarray(costs, np.float64)
    if not target > 0 or (costs <= 0).any():
        raise UserError(
            f"an objective needs a positive target and costs, not {target!r} and costs from "
            f"{costs.min() if costs.size else target:.3g}; give both in one unit"
        )
    return costs / target


def line(objective: Objective, costs: Floats) -> tuple[Floats, Floats]:
    """(slope [n], intercept [n]) of an objective in the value, at given costs."""
    at_zero, at_one = (objective(np.full_like(costs, value), costs) for value in (0, 1))
    slope = np.zeros_like(costs)
    np.subtract(at_one, at_zero, out=slope, where=np.isfinite(at_zero))
    return slope, at_zero


def expected_excess(mean: Floats, sd: Floats, level: Floats | float, top: float) -> Floats:
    """E[max(0, v - level)] for v = top - exp(-z), z normal with `mean` and `sd`, level < top.

    The value of a put (Black and Scholes 1973, no interest): the distance to the top is the
    log-normal price, its distance at the level the strike.
    """
    strike = np.maximum(top - level, 0.0)
    with np.errstate(divide="ignore"):
        d = (np.log(strike) + mean) / sd
    price = np.exp(np.minimum(0.5 * sd * sd - mean, 700.0))  # exp overflows beyond 709
    return np.asarray(np.maximum(strike * ndtr(d) - price * ndtr(d - sd), 0.0))


def expected_hypervolume(
    mean: Floats, sd: Floats, costs: Floats, front: Floats, reference: tuple[float, float],
    top: float,
) -> Floats:  # fmt: skip
    """Hypervolume that networks of known `costs` [m] are expected to add to a front.

    front       [n, 2] values and costs known so far; reference the least value, the most cost
    mean, sd    [m] of the transformed value, as in `expected_excess`

    It is a sum over the steps of the front to the right of that cost: the step's width times the
    excess over its level.
    """
    inside = (front[:, 0] > reference[0]) & (front[:, 1] < reference[1])
    front = front[inside & non_dominated(front, (True, False))]
    front = front[np.argsort(front[:, 1])]
    levels = np.concatenate(([reference[0]], front[:, 0]))  # [steps]
    edges = np.concatenate(([-np.inf], front[:, 1], [reference[1]]))
    # four standard deviations above the mean nothing is to be expected
    able = mean + 4 * sd > -np.log(top - levels)[:, None]  # [steps, m]
    step, new = np.nonzero(able & (costs < edges[1:, None]))
    width = edges[step + 1] - np.maximum(edges[step], costs[new])
    excess = expected_excess(mean[new], sd[new], levels[step], top)
    return np.asarray(np.bincount(new, width * excess, len(costs)), np.float64)


def expected_gain(
    goal: Objective | None, mean: Floats, sd: Floats, costs: Floats, front: Floats, limit: float,
    top: float,
) -> Floats:  # fmt: skip
    """How much networks of known `costs` [m] are expected to better the best of one objective.

    goal        a line in the value at each cost; None for the value itself, within `limit`
    mean, sd    [m] of the transformed value, as in `expected_excess`
    front       [n, 2] values and costs known so far
    """
    if goal is None:
        best = front[front[:, 1] <= limit, 0].max(initial=-np.inf)
        best = best if np.isfinite(best) else front[:, 0].min()
        return expected_excess(mean, sd, np.full(len(costs), best), top)
    rewards = goal(front[:, 0], front[:, 1])
    if not np.isfinite(rewards).any():  # nothing told is within the target
        excess = expected_excess(mean, sd, np.full(len(costs), front[:, 0].min()), top)
        return excess * np.isfinite(goal(mean, costs))
    best = float(rewards[np.isfinite(rewards)].max())
    slope, intercept = line(goal, costs)
    level = np.full(len(costs), top)
    np.divide(best - intercept, slope, out=level, where=slope > 0)
    return slope * expected_excess(mean, sd, level, top)
