"""Least squares from second moments, and which inputs to do without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

RANK = 128  # inputs leave in about so many steps, of one or more at once


class Moments:
    """Sums of inputs x (n, a) and outputs y (n, b), about the first of them, for any number n.

    So products of what hardly varies stay small, and single precision is enough for them.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.number = 0
        self.about = torch.zeros(inputs), torch.zeros(outputs)
        self.x, self.y = torch.zeros(inputs).double(), torch.zeros(outputs).double()
        self.xx = torch.zeros(inputs, inputs).double()
        self.xy = torch.zeros(inputs, outputs).double()

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take n more: x (n, a) and y (n, b)."""
        x, y = x.float(), y.float()
        if not self.number:
            self.about = x[0].clone(), y[0].clone()
        x, y = x - self.about[0], y - self.about[1]
        self.number += len(x)
        self.x += x.sum(0).cpu()
        self.y += y.sum(0).cpu()
        self.xx += (x.T @ x).cpu()
        self.xy += (x.T @ y).cpu()

    def problem(self) -> Problem:
        """The least squares problem that they state."""
        x, y = self.x / self.number, self.y / self.number
        gram = self.xx / self.number - torch.outer(x, x)
        cross = self.xy / self.number - torch.outer(x, y)
        return Problem(gram, cross, x + self.about[0].cpu(), y + self.about[1].cpu())


@dataclass(frozen=True)
class Problem:
    """To find W (a, b) and c (b,) with y ~ x W + c.

    gram (a, a) covariance of x;  cross (a, b) of x with y;  x (a,), y (b,) their means.
    """

    gram: Tensor
    cross: Tensor
    x: Tensor
    y: Tensor

    def of(self, inputs: Tensor) -> Problem:
        """The same with these inputs alone."""
        gram = self.gram[inputs][:, inputs]
        return Problem(gram, self.cross[inputs], self.x[inputs], self.y)

    def to(self, outputs: Tensor) -> Problem:
        """The same for these outputs alone."""
        return Problem(self.gram, self.cross[:, outputs], self.x, self.y[outputs])

    def penalty(self, ridge: float) -> float:
        """What a ridge of so much of the mean variance adds to the diagonal."""
        return ridge * self.gram.diagonal().mean().item() + 1e-12

    def solve(self, near: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """W (a, b) and c (b,) of the least error, with a ridge towards the weights `near`."""
        penalty = self.penalty(ridge)
        system = self.gram + penalty * torch.eye(len(self.gram), dtype=torch.double)
        weight = torch.linalg.solve(system, self.cross + penalty * near.double())
        return weight, self.y - self.x @ weight

    def eliminate(
        self, near: Tensor, sizes: Iterable[int], ridge: float, at_once: int | None = None
    ) -> dict[int, Tensor]:
        """The inputs to keep (ascending), by how many: nested sets.

        Optimal brain surgeon (Hassibi and Stork 1993) for rows of W: those go first whose loss,
        made good by all others, raises the error least: |W_i|^2 / (G^-1)_ii.  `at_once` go
        together (None: a RANK-th part of all).
        """
        number = len(self.gram)
        at_once = at_once or max(1, number // RANK)
        penalty = self.penalty(ridge)
        inverse = torch.linalg.inv(self.gram + penalty * torch.eye(number, dtype=torch.double))
        weight = inverse @ (self.cross + penalty * near.double())
        alive, kept = torch.arange(number), {}
        for size in sorted(set(sizes), reverse=True):
            while len(alive) > size:
                rise = weight.square().sum(1) / inverse.diagonal()
                out = rise.topk(min(at_once, len(alive) - size), largest=False).indices
                keep = torch.ones(len(alive), dtype=torch.bool)
                keep[out] = False
                lost = inverse[:, out]  # (alive, out)
                undo = torch.linalg.solve(lost[out], torch.cat([weight[out], lost.T], 1))
                both = torch.cat([weight, inverse], 1) - lost @ undo
                weight = both[keep, : weight.shape[1]]
                inverse = both[keep][:, weight.shape[1] :][:, keep]
                alive = alive[keep]
            kept[size] = alive
        return kept
