"""The fitted triple against its rivals, trained longer: what the data can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from scipy import stats

from nas.stats.correlation import Interval

CONFIDENCE = 0.95
LABELS = {
    "fitted": "the fitted triple", "efficientnet": "EfficientNet's triple", "dwr": "dWr",
    "uniform": "uniform", "depth": "depth alone", "width": "width alone",
    "resolution": "resolution alone",
}  # fmt: skip


class Comparison:
    """Losses of networks by seed, modelled as an effect of the network plus one of the seed.

    Networks share their seeds (randomised blocks), so a seed's luck drops out of differences.
    What is left is normal noise, of one variance.
    """

    def __init__(self, losses: Mapping[str, Mapping[int, float]]) -> None:
        self.names = [name for name, by_seed in losses.items() if by_seed]
        seeds = sorted({seed for by_seed in losses.values() for seed in by_seed})
        cells = [(i, s) for i, name in enumerate(self.names) for s in losses[name]]
        y = np.array([losses[self.names[i]][s] for i, s in cells])
        design = np.zeros((len(cells), len(self.names) + len(seeds)))
        for row, (i, s) in enumerate(cells):
            design[row, i] = design[row, len(self.names) + seeds.index(s)] = 1
        self.inverse = np.linalg.pinv(design.T @ design)
        effects = self.inverse @ design.T @ y
        self.num_free = len(cells) - int(np.linalg.matrix_rank(design)) if cells else 0
        self.variance = float(np.sum((y - design @ effects) ** 2)) / max(1, self.num_free)
        by_name, by_seed = np.split(effects, [len(self.names)])
        # a network's level is its loss with an average seed
        self.level = dict(zip(self.names, by_name + by_seed.mean(), strict=True))

    def over(self, name: str, other: str, comparisons: int) -> Interval:
        """`name` less `other`; the interval holds for all `comparisons` at once (Bonferroni)."""
        contrast = np.zeros(len(self.inverse))
        contrast[self.names.index(name)] += 1
        contrast[self.names.index(other)] -= 1
        value = self.level[name] - self.level[other]
        if self.num_free < 1:
            return Interval(value, -math.inf, math.inf)
        error = math.sqrt(max(0.0, self.variance * float(contrast @ self.inverse @ contrast)))
        level = 1 - (1 - CONFIDENCE) / (2 * max(1, comparisons))
        half = float(stats.t.ppf(level, self.num_free)) * error
        return Interval(value, value - half, value + half)

    def contenders(self) -> list[str]:
        """The network of least loss, then those whose interval over it holds zero."""
        best = min(self.names, key=lambda name: self.level[name])
        rest = [name for name in self.names if name != best]
        return [best, *(n for n in rest if self.over(n, best, len(rest)).low <= 0)]


def verdict(comparison: Comparison, ratios: Mapping[str, float], twins: Mapping[str, str]) -> str:
    """In words, what the comparison says of "fitted" and of the others.

    `ratios` are true costs over the baseline's; `twins` round to the network that they name.
    """
    if "fitted" not in comparison.names:
        return "the fitted network could not be trained to the end: nothing is confirmed"
    others = [name for name in comparison.names if name != "fitted"]
    if not others:
        return "every rule rounds to the fitted network: there is nothing to tell apart"
    over = {name: comparison.over(name, "fitted", len(others)) for name in others}
    worse = [name for name in others if over[name].low > 0]
    better = [name for name in others if over[name].high < 0]
    even = [name for name in others if name not in worse and name not in better]
    parts = []
    if better:
        verb = "is" if len(better) == 1 else "are"
        parts.append(f"{_join(better, twins)} {verb} better than the fitted triple")
    if worse:
        parts.append(f"the fitted triple is better than {_join(worse, twins)}")
    if even and len(even) < len(others):
        parts.append(f"these data do not tell the fitted triple from {_join(even, twins)}")
    elif even:
        parts.append(f"these data do not tell them apart: {_join(['fitted', *even], twins)}")
    contenders = comparison.contenders()
    best, cheapest = contenders[0], min(contenders, key=lambda name: ratios[name])
    ending = f"nothing cheaper is as good ({ratios[best]:.2f} times)"
    if cheapest != best:
        ending = (
            f"the cheapest that is not shown to be worse is {LABELS[cheapest]} "
            f"({ratios[cheapest]:.2f} times the baseline's cost, not {ratios[best]:.2f})"
        )
    return "; ".join([*parts, f"{LABELS[best]} did best, and {ending}"])


def _join(names: Sequence[str], twins: Mapping[str, str]) -> str:
    words = []
    for name in names:
        same = [LABELS[twin] for twin, of in twins.items() if of == name]
        words.append(f"{LABELS[name]} (= {', '.join(same)})" if same else LABELS[name])
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def percent(loss: float) -> float:
    """A difference of logarithms in per cent."""
    return 100 * math.expm1(loss)


def percents(difference: Interval) -> dict[str, float]:
    """Its value, low and high in per cent."""
    return {name: percent(end) for name, end in asdict(difference).items()}
