"""The networks that may be proposed: what a model reads of them, and the best of them by a gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from nas.core.errors import UserError
from nas.search.samplers.genomes import Floats, Genomes, Ints, rows
from nas.search.samplers.observations import Observations
from nas.stats.gaussian_process import standardisation

Gain = Callable[[Floats, Floats], Floats]  # (columns [m, d], costs [m]) -> [m]

# Spaces up to this many genomes are listed whole; scoring them all takes some ten milliseconds.
MAX_LISTED = 10_000
# Random genomes that scale the columns of larger spaces: their means are known within 3 %.
SAMPLE = 1000
# Choices with more labels get no column for each of them: hardly one is ever told twice.
MAX_ONE_HOT = 50
# Draws prefer cheap or dear labels by odds of up to exp(6) = 400, so that they span all costs:
# with equal odds for every label they crowd around the middle one.
MAX_TILT = 6.0
# The search for the best candidate of a larger space: genomes drawn, then rounds of children of
# the best.  A proposal thus asks for 740 costs at most; three times as many gained little more.
DRAWN, CHILDREN, ROUNDS, ELITE = 100, 80, 8, 16
MAX_ROUNDS = 50  # before a space where nothing unseen turns up counts as exhausted
MAX_COST = 1e300  # in place of infinity, so that a logarithm is finite


class Candidates:
    """The networks that a sampler may propose.

    limit          the most that one may cost, None for no limit
    fold           whether several genomes may be one network
    groups         [d] which columns of a network share a length scale
    largest_cost   of the networks within the limit that were seen, for the hypervolume
    """

    def __init__(self, genomes: Genomes, limit: float | None, seed: int, fold: bool) -> None:
        self.genomes = genomes
        self.limit = math.inf if limit is None else limit
        self._shared: dict[Hashable, Floats] = {}  # columns of networks with several genomes
        self._prepare(np.random.default_rng(seed), fold)

    def _prepare(self, rng: np.random.Generator, fold: bool) -> None:
        """Scale the columns on a sample, or list the space where it is small."""
        small = math.prod(int(size) for size in self.genomes.sizes) <= MAX_LISTED
        sample = self.genomes.all() if small else self.genomes.uniform(SAMPLE, rng)
        costs = self.genomes.costs(sample)
        self.order = [_ranks(sample[:, j], n, costs) for j, n in enumerate(self.genomes.sizes)]
        self.position = [
            _numeric(labels) if all(_is_number(x) for x in labels) else order
            for labels, order in zip(self.genomes.labels.values(), self.order, strict=True)
        ]
        self._one_hot = np.flatnonzero(self.genomes.sizes <= MAX_ONE_HOT)
        ends = np.cumsum(self.genomes.sizes[self._one_hot])
        self._hot_start = ends - self.genomes.sizes[self._one_hot]
        self._num_hot = int(ends[-1]) if len(ends) else 0
        if not small:
            start = sample[np.argmin(costs)]
            extremes = [self._extreme(start, sign) for sign in (1, -1)]
            sample = np.concatenate((sample, self._tilted(SAMPLE, rng), extremes))
            costs = self.genomes.costs(sample)
        sample, costs = sample[np.isfinite(costs)], costs[np.isfinite(costs)]
        if not (costs <= self.limit).any():
            least = f"the least found is {costs.min():.4g}" if len(costs) else "none has a cost"
            raise UserError(
                f"no network is within limit={self.limit:.4g} ({least}): raise the limit"
            )
        self.cheapest = sample[[np.argmin(costs)]]
        self.largest_cost = float(costs[costs <= self.limit].max())
        raw, guesses = self._columns(sample), self.genomes.prior(sample)
        self.groups = self._groups(raw.shape[1])
        self.centre, self.scale = standardisation(raw, self.groups)
        self.prior_centre = guesses.mean(axis=0)
        self.prior_unit = np.where(np.ptp(guesses, axis=0) > 0, guesses.std(axis=0), 1.0)
        self.listed = small
        if small:
            self._list_networks(sample, costs, fold)

    def _list_networks(self, genomes: Ints, costs: Floats, fold: bool) -> None:
        """Keep one genome of every network, with the mean of the columns of all of its genomes."""
        x = self._scaled(genomes)
        keys = self.genomes.keys(genomes)
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        which = np.array([number[key] for key in keys])
        first = np.unique(which, return_index=True)[1]
        if fold:
            sums = np.zeros((len(number), x.shape[1]))
            np.add.at(sums, which, x)
            means = sums / np.bincount(which)[:, None]
            self._shared = dict(zip(number, means, strict=True))
            x = means[which]
        first = first[costs[first] <= self.limit]
        self.all = genomes[first], x[first], costs[first]
        self.row_of = {keys[row]: i for i, row in enumerate(first)}

    def columns(self, genomes: Ints) -> Floats:
        """What the model reads of genomes: scaled columns [n, d], then the prior if any."""
        x = self._scaled(genomes)
        if self._shared:
            for i, key in enumerate(self.genomes.keys(genomes)):
                x[i] = self._shared.get(key, x[i])
        return x

    def _scaled(self, genomes: Ints) -> Floats:
        x = (self._columns(genomes) - self.centre) * self.scale
        guesses = (self.genomes.prior(genomes) - self.prior_centre) / self.prior_unit
        return np.concatenate((x, guesses), axis=1)

    def _columns(self, genomes: Ints) -> Floats:
        """Labels one-hot, positions, log cost and features [n, d], unscaled."""
        hot = np.zeros((len(genomes), self._num_hot))
        np.put_along_axis(hot, genomes[:, self._one_hot] + self._hot_start, 1.0, axis=1)
        place = [position[genomes[:, j]] for j, position in enumerate(self.position)]
        log_cost = np.log(np.minimum(self.genomes.costs(genomes), MAX_COST))[:, None]
        features = self.genomes.features(genomes)
        return np.concatenate((hot, np.stack(place, axis=1), log_cost, features), axis=1)

    def _groups(self, columns: int) -> Ints:
        """Labels, positions, and the rest are a group each.

        The rest all say how large the network is, and a length scale for each is more than the
        first dozens of values can tell.
        """
        num = [self._num_hot, len(self.genomes.sizes)]
        num.append(columns - sum(num))
        return np.unique(np.repeat(np.arange(3), num), return_inverse=True)[1]

    def _extreme(self, genome: Ints, sign: int) -> Ints:
        """The cheapest genome (or with sign -1 the dearest) that changes of one choice reach."""
        while True:
            before = genome
            for choice, size in enumerate(self.genomes.sizes):
                tried = np.repeat(genome[None], size, axis=0)
                tried[:, choice] = np.arange(size)
                costs = self.genomes.costs(tried)
                costs = np.where(np.isfinite(costs), sign * costs, np.inf)
                if costs.min() < costs[genome[choice]]:
                    genome = tried[np.argmin(costs)]
            if genome is before:
                return genome

    def _tilted(self, num: int, rng: np.random.Generator) -> Ints:
        """Random genomes [num, choices], each with a preference for cheap or for dear labels."""
        tilt = rng.uniform(-MAX_TILT, MAX_TILT, num)
        columns = []
        for order in self.order:
            logits = tilt[:, None] * order
            odds = np.exp(logits - logits.max(axis=1, keepdims=True)).cumsum(axis=1)
            columns.append((rng.random(num)[:, None] * odds[:, -1:] > odds).sum(axis=1))
        return np.stack(columns, axis=1)

    def farthest(
        self, known: Ints, now: Observations, rng: np.random.Generator
    ) -> list[int] | None:
        """Of some random unseen genomes the one farthest from all that are `known` [n, choices].

        Only some are looked at, since the farthest of all are freaks in the corners of the space.
        """
        num = len(self.groups)
        ours = self.columns(known)[:, :num] if len(known) else known

        def distance(x: Floats, costs: Floats) -> Floats:
            x = x[:, :num]
            if not len(ours):  # the nearest to the middle
                return np.asarray(-np.einsum("md,md->m", x, x))
            return np.asarray(np.min([((x - row) ** 2).sum(axis=1) for row in ours], axis=0))

        if self.listed and not now.fixed:
            return self._best_listed(distance, now.seen, rng.permutation(len(self.all[0])), DRAWN)
        return self._evolve(distance, known[:0], now, rng, rounds=1)

    def best(
        self, gain: Gain, parents: Ints, now: Observations, rng: np.random.Generator
    ) -> list[int] | None:
        """The unseen genome of most gain, or None; `parents` [p, choices] are good ones known."""
        if self.listed and not now.fixed:
            order = np.arange(len(self.all[0]))
            return self._best_listed(gain, now.seen, order, len(order))
        return self._evolve(gain, parents, now, rng, ROUNDS)

    def _best_listed(
        self, gain: Gain, seen: Set[Hashable], order: Ints, num: int
    ) -> list[int] | None:
        """The best of the first `num` unseen genomes of the list, taken in an order [n]."""
        genomes, x, costs = self.all
        taken = [self.row_of[key] for key in seen if key in self.row_of]
        order = order[~np.isin(order, taken)][:num]
        if not len(order):
            return None
        best = order[np.argmax(gain(x[order], costs[order]))]
        return [int(label) for label in genomes[best]]

    def _evolve(
        self, gain: Gain, parents: Ints, now: Observations, rng: np.random.Generator, rounds: int
    ) -> list[int] | None:
        """The best of random genomes, children of `parents`, and their children in turn."""
        pool: dict[tuple[int, ...], float] = {}
        elite: Ints = parents[:0]
        genomes = self._tilted(DRAWN, rng)
        for number in range(MAX_ROUNDS):
            if number >= rounds and len(elite):
                break
            family = np.concatenate((elite, parents, self.cheapest))
            genomes = np.concatenate((genomes, self.genomes.children(family, CHILDREN, rng)))
            for choice, label in now.fixed.items():
                genomes[:, choice] = label
            genomes = self.genomes.array([r for r in dict.fromkeys(rows(genomes)) if r not in pool])
            costs = self.genomes.costs(genomes)
            within = np.isfinite(costs) & (costs <= self.limit)
            genomes, costs = genomes[within], costs[within]
            if len(genomes):
                gains = gain(self.columns(genomes), costs)
                pool.update(zip(rows(genomes), gains.tolist(), strict=True))
            elite = self._unseen(pool, now.seen)
            genomes = elite[:0]
        return [int(label) for label in elite[0]] if len(elite) else None

    def _unseen(self, pool: Mapping[tuple[int, ...], float], seen: Set[Hashable]) -> Ints:
        """The genomes of a pool with the most gain, one of each unseen network."""
        ranked = sorted(pool, key=lambda row: -pool[row])
        unseen: dict[Hashable, tuple[int, ...]] = {}
        for i in range(0, len(ranked), 4 * ELITE):
            part = ranked[i : i + 4 * ELITE]
            for key, row in zip(self.genomes.keys(self.genomes.array(part)), part, strict=True):
                if key not in seen:
                    unseen.setdefault(key, row)
            if len(unseen) >= ELITE:
                break
        return self.genomes.array(list(unseen.values())[:ELITE])


def _is_number(label: Any) -> bool:
    return isinstance(label, int | float) and not isinstance(label, bool)


def _numeric(labels: Sequence[float]) -> Floats:
    """Places 0..1 of numeric labels by their order."""
    ranks = np.empty(len(labels))
    ranks[np.argsort(labels, kind="stable")] = np.arange(len(labels))
    return ranks / max(len(labels) - 1, 1)


def _ranks(column: Ints, num: int, costs: Floats) -> Floats:
    """Places 0..1 of the labels of one choice by the mean log cost of networks that have them."""
    good = np.isfinite(costs)
    column, logs = column[good], np.log(costs[good])
    count = np.bincount(column, minlength=num)
    mean = np.bincount(column, logs, num) / np.maximum(count, 1)
    return _numeric(np.where(count > 0, mean, np.inf).tolist())
