"""How finely a fit looks, and how much it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from nas.core.errors import UserError
from nas.core.typed import Count, Natural, Positive, Range, check_fields
from nas.scale.fit.candidates import MAX_TOLERANCE


@dataclass(frozen=True)
class FitBudget:
    """The settings of a fit; raises UserError for what makes no sense.

    step, low, high   the grid of alpha, beta and gamma, each
    phi             1 compares networks of twice the baseline's cost, -1 those of half of it
    tolerance       of a cost ratio of 2, in proportion of another, both of the rounded network and
                    per phi up to phi = 3; widened where too few networks are within
    points          networks trained at first: the baseline, the rivals, single axes, and others
    rungs           (epochs, seeds) of each rung of successive halving
    confirm_epochs, confirm_seeds   of the longer trainings; without seeds there are none
    confirm_phis    at how many times phi the fitted triple meets its rivals
    costed          networks to measure, where costs are slow: half as many candidates, each twice
    resamples       surfaces fitted to data drawn anew, for the intervals
    """

    step: Annotated[float, Range(0.01)] = 0.05
    low: Positive = 1.0
    high: Annotated[float, Range(0, 16, above=True)] = 2.0
    phi: Annotated[int, Range(-1, 1)] = 1
    tolerance: Annotated[float, Range(0, MAX_TOLERANCE, above=True)] = 0.10
    points: Annotated[int, Range(12)] = 16
    rungs: Sequence[Sequence[Count]] = ((1, 1), (2, 1))
    confirm_epochs: Count = 3
    confirm_seeds: Natural = 2
    confirm_phis: Sequence[Annotated[int, Range(1, 3)]] = (1,)
    costed: Annotated[int, Range(20)] = 80
    resamples: Annotated[int, Range(100)] = 1000

    def __post_init__(self) -> None:
        check_fields(self, "fit")
        if self.phi == 0:
            raise UserError("fit.phi=0 (allowed: 1 to grow the baseline, -1 to shrink)")
        # shrinking may deepen a network that it makes narrower: alpha under 1 at phi = -1
        min_low = 1 if self.phi > 0 else 0.5
        if not min_low <= self.low < self.high:
            raise UserError(
                f"fit.low={self.low} and fit.high={self.high}: allowed is {min_low} <= low < high"
            )
        if self.confirm_seeds == 1:
            raise UserError("fit.confirm_seeds=1 gives no interval (allowed: 0 for none, or 2 on)")
        for rung in self.rungs or [()]:
            if len(rung) != 2:
                raise UserError(
                    f"fit.rungs must be pairs of epochs and seeds, such as [[1,1],[2,1]], "
                    f"not {[list(r) for r in self.rungs]}"
                )
        if not self.confirm_phis:
            raise UserError("fit.confirm_phis=[] (allowed: some of 1, 2 and 3)")
