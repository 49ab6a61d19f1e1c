"""What a fit found, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Plain = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """The fitted triple and everything that its report and its pictures show.

    phi            where it was fitted: 1, by networks of twice the cost, or -1, of half of it
    intervals      95 % intervals of alpha, beta and gamma: [low, high] by name
    num_points     distinct networks that the surface was fitted to
    verdict        in words, what the longer trainings can tell
    judge          in words, how networks were judged
    tolerance      of a cost ratio of 2, in proportion of another, as far as it had to be widened
    baseline       resolution, macs, and exponents [3] of cost in depth, width, resolution
    surface        terms, r2, loo (of the logarithm of the loss), ridge, loss
    candidates     networks of that cost: triple, effective depth, width and resolution, shares
                   (of log cost), ratio, predicted (loss), chosen (part of the surfaces), judged
    rivals         the same by name
    regret         by rival, in per cent of the loss: what taking it and not the fitted triple
                   costs by the surface: value, low, high
    confirmation   what was trained longer: name, phi, ratio, within (the tolerance), num_seeds,
                   scores (errors over seeds), value, low, high (of the loss over the fitted one's
                   at equal cost, in per cent), moved (what equal cost added, in per cent)
    agreement      order of short against longer trainings: num_networks, kendall, low, high;
                   None where too few networks had both
    rows           every training, as `TrainingRecord`
    """

    alpha: float
    beta: float
    gamma: float
    phi: int
    intervals: dict[str, list[float]]
    objective: str
    num_points: int
    verdict: str
    judge: str
    tolerance: float
    baseline: Plain
    surface: Plain
    candidates: list[Plain]
    rivals: dict[str, Plain]
    regret: dict[str, Plain]
    confirmation: list[Plain]
    agreement: Plain | None
    rows: list[Plain]

    def to_json(self) -> Plain:
        """Plain data, which `Fit(**data)` takes."""
        return asdict(self)

    def summary(self) -> Plain:
        """The triple, its intervals and the verdict, without what they were found from."""
        left_out = {"baseline", "surface", "candidates", "rivals", "rows"}
        return {name: value for name, value in self.to_json().items() if name not in left_out}
