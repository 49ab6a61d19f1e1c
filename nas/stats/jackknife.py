"""Standard errors of figures that are no means, such as mean average precision.

The jackknife that leaves out a group at a time (Efron and Tibshirani 1993, chapter 11): as many
evaluations however many pictures there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

GROUPS = 10
MIN_GROUPS = 2  # that say anything of a spread

Floats = NDArray[np.float64]


def left_out(figure: Callable[[Sequence[int]], float], number: int) -> Floats:
    """(groups,): the figure of `number` things without each group of them, every tenth one.

    Of two networks' figures on the same things the differences are a jackknife of the difference.
    """
    groups = min(GROUPS, number) if number > 1 else 0
    rest = ([i for i in range(number) if i % groups != group] for group in range(groups))
    return np.array([figure(rows) for rows in rest])


def jackknife_error(parts: Floats) -> float:
    """The standard error of the whole, from `left_out`; NaN of a single thing.

    A part without a figure, such as mAP where the only pictures with boxes were left out, is none.
    """
    parts = parts[np.isfinite(parts)]
    groups = len(parts)
    if groups < MIN_GROUPS:
        return math.nan
    return float(np.sqrt((groups - 1) / groups * ((parts - parts.mean()) ** 2).sum()))
