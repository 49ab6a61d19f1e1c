"""What searches and trainings show: tests among networks of the same latency, and their meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import linregress, t

from nas.arch.arch import Arch
from nas.rediscover.patterns import HYPOTHESES, Number, Rows, agreement
from nas.stats.paired import CONFIDENCE
from nas.stats.permutation import difference_interval, holm, permutation_p

SIGNIFICANT = 0.05  # after Holm's correction over all hypotheses
Row = dict[str, Any]


def hypothesis_rows(
    searched: Sequence[Rows], random: Sequence[Rows], published: Sequence[Rows], seed: int = 0
) -> list[Row]:
    """One row a hypothesis.  A search counts once, by its winner; so does a random network.

    There is no p where a winner has no such number, or where the space leaves no choice of it.

    searched, random, published   the mean contrast of each group
    difference                    of searched and random, with its 95 % interval
    sd                            of the contrast among the random networks
    p, holm                       of the permutation test, alone and within the family
    """
    rows, ps = [], []
    for name, hypothesis in HYPOTHESES.items():
        ours, others, theirs = (
            np.array([hypothesis.contrast(rows) for rows in group])
            for group in (searched, random, published)
        )
        found = difference_interval(ours, others)
        answers = np.isfinite(ours).all() and np.unique(others[np.isfinite(others)]).size > 1
        p = permutation_p(ours, others, hypothesis.two_sided, seed) if answers else float("nan")
        ps.append(p)
        rows.append({
            "name": name,
            "words": hypothesis.words,
            "two_sided": hypothesis.two_sided,
            "searched": _mean(ours),
            "random": _mean(others),
            "published": _mean(theirs),
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "sd": float(np.nanstd(others)) if np.isfinite(others).any() else float("nan"),
            "p": p,
        })  # fmt: skip
    for row, p in zip(rows, holm(ps), strict=True):
        row |= {"holm": p, "found": bool(p < SIGNIFICANT)}
    return rows


def agreement_rows(
    searched: Sequence[Rows], random: Sequence[Rows], like: Mapping[str, Rows], seed: int = 0
) -> list[Row]:
    """How far winners choose as each network of `like`, slot by slot, beside what controls do."""
    rows = []
    for name, published in like.items():
        ours, others = (
            np.array([agreement(rows, published) for rows in group]) for group in (searched, random)
        )
        low, high = np.nanquantile(others, [0.025, 0.975])
        rows.append({
            "name": name,
            "searched": _mean(ours),
            "random": _mean(others),
            "low": float(low),
            "high": float(high),
            "p": permutation_p(ours, others, seed=seed),
        })  # fmt: skip
    return rows


def worth_rows(
    networks: Sequence[Arch], accuracies: Sequence[float], numbers: Mapping[str, Number]
) -> list[Row]:
    """What each number is worth where networks are as fast as each other: a row each.

    networks          how many of those that were trained alone have the number
    gain, low, high   accuracy gained by a standard deviation more of it, by least squares, with
                      Student's 95 % interval
    p, holm           two-sided, alone and within the family of `numbers`

    All but `networks` are NaN where the number does not vary.
    """
    rows = list[Row]()
    for words, number in numbers.items():
        values = np.array([number(arch) for arch in networks], float)
        known = np.isfinite(values)
        x, y = values[known], np.asarray(accuracies, float)[known]
        gain = half = p = float("nan")
        if len(x) > 2 and np.ptp(x) > 0:
            line = linregress(x, y)
            unit, p = float(x.std()), float(line.pvalue)
            gain = float(line.slope) * unit
            half = float(t.ppf((1 + CONFIDENCE) / 2, len(x) - 2) * line.stderr) * unit
        rows.append({
            "words": words,
            "networks": len(x),
            "gain": gain,
            "low": gain - half,
            "high": gain + half,
            "p": p,
        })  # fmt: skip
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row |= {"holm": p, "found": bool(p < SIGNIFICANT)}
    return rows


def _mean(values: Any) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def is_reliable(taus: Mapping[str, Any]) -> bool:
    """Whether the judges order networks better than chance."""
    return bool(taus["low"] > 0)


def conclusion(summary: Mapping[str, Any]) -> list[str]:
    """What may be said, in sentences, the most important first."""
    taus = summary["taus"]
    ranked = (
        f"Kendall's tau of the judges with {taus['networks']} trainings of networks as fast as "
        f"each other is {taus['mean']:.2f} ({taus['low']:.2f} to {taus['high']:.2f}); the orders "
        f"of two rounds of trainings agree by {taus['seeds']:.2f}"
    )
    if not is_reliable(taus):
        wrong = "is the wrong way round" if taus["high"] < 0 else "cannot be told from chance"
        return [
            f"Nothing can be concluded from what the searches found, since their judges' order "
            f"{wrong}: {ranked}.",
            _worth(summary["worth"]),
        ]
    said = [
        f"{row['words']} ({row['difference']:+.2f})"
        for row in summary["hypotheses"]
        if row["found"]
    ]
    lines = [
        f"Told from random networks of the same latency: {'; '.join(said)}."
        if said
        else f"In nothing that was tested can the networks of {len(summary['searches'])} searches "
        "be told from random ones of the same latency."
    ]
    return [*lines, f"{ranked}.", _worth(summary["worth"])]


def _worth(worth: Mapping[str, Any]) -> str:
    """What trainings alone say, without any search."""
    tested, plain = (
        [
            f"{row['words']} ({100 * row['gain']:+.1f} points by a standard deviation more of it)"
            for row in worth[family]
            if row["found"]
        ]
        for family in ("tested", "plain")
    )
    return (
        f"Of {worth['networks']} random networks as fast as each other, each trained alone, "
        f"accuracy depends on {'; '.join(tested) or 'none of the six differences'}; of plain "
        f"choices on {'; '.join(plain) or 'none'}."
    )
