"""How a latency table is built: which blocks and networks are timed, corrected and validated."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.arch.layers import Operator
from nas.arch.notation import arch_string
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.block_features import signature
from nas.latency.model import (
    column_names,
    correct,
    d_optimal_rows,
    fit_blocks,
    matrix,
    with_movements,
)
from nas.latency.table import LatencyTable, MeasurementEffort
from nas.latency.timing_journal import Part, TimingJournal, part_key
from nas.space.choices import fill
from nas.space.trellis.trellis import Trellis
from nas.stats.correlation import fraction_within, interval, kendall, mape, share_interval, spearman

Floats = NDArray[np.float64]
Genomes = NDArray[np.integer[Any]]

MIN_NETWORKS = 4
POPULATION = 4000  # random networks from which those to time are chosen
FIGURES = {
    "mape": mape,
    "within_5": fraction_within(0.05),
    "within_10": fraction_within(0.10),
    "spearman": spearman,
    "kendall": kendall,
}


def build_table(
    trellis: Trellis, journal: TimingJournal, effort: MeasurementEffort
) -> tuple[LatencyTable, list[dict[str, Any]]]:
    """The table of a space, and the rows of networks.csv: what corrected and validated it.

    Killed in the middle and called again, it goes on with what the journal has.
    """
    rng = np.random.default_rng(effort.seed)
    blocks = choose_blocks(with_movements(trellis.rows), effort.blocks, rng)
    block_parts = {part_key([row]): (row,) for row in blocks}
    isolated = journal.measure(block_parts, "blocks")
    block_ms = [timing.median_ms for timing in isolated]
    began = time.perf_counter()
    by_blocks = fit_blocks(blocks, block_ms)
    row_ms = np.array([by_blocks.row_ms(row) for row in trellis.rows])
    genomes = choose_networks(trellis, row_ms, effort.calibrate + effort.validate, rng)
    archs = [fill(trellis.space, picks) for picks in trellis.decode(genomes)]
    parts = {part_key(rows): rows for rows in map(operators, archs)}
    share = effort.calibrate / (effort.calibrate + effort.validate)
    number = min(max(round(share * len(parts)), 1), len(parts) - 1)  # of a few some for both
    fitting = dict(list(parts.items())[:number])
    unseen = {key: rows for key, rows in parts.items() if key not in fitting}
    seconds = time.perf_counter() - began
    network_ms = [timing.median_ms for timing in journal.measure(fitting, "networks")]
    model = correct(by_blocks, blocks, block_ms, list(fitting.values()), network_ms)
    predicted = [model.network_ms(rows) for rows in parts.values()]
    table = LatencyTable(
        model=model,
        blocks=tuple((signature(row), t) for row, t in zip(blocks, isolated, strict=True)),
        num_keys=len(trellis.rows),
        validation=validate(predicted[len(fitting) :], journal, unseen, effort),
        seconds=seconds + sum(journal.seconds[key] for key in [*block_parts, *fitting]),
        identity=journal.backend.identity(),
    )
    networks = [
        {
            "role": "calibrate" if key in fitting else "validate",
            "predicted_ms": ms,
            **journal.known[key].to_dict(),
            "arch": arch_string(arch),
        }
        for key, ms, arch in zip(parts, predicted, archs, strict=True)
    ]
    return table, networks


def choose_blocks(
    rows: Sequence[Operator], number: int, rng: np.random.Generator
) -> list[Operator]:
    """The blocks to time, in random order, so that what slows the machine hits all kinds."""
    chosen = list(range(len(rows)))
    if len(rows) > number:
        names = column_names(rows)
        chosen = d_optimal_rows(matrix([[row] for row in rows], names), number)
        if column_names([rows[i] for i in chosen]) != names:
            raise UserError(
                f"table.blocks={number} is too few for the kinds of layer in this space: "
                f"{len(names)} or more are enough"
            )
    return [rows[i] for i in rng.permutation(np.array(chosen))]


def choose_networks(
    trellis: Trellis, row_ms: Floats, number: int, rng: np.random.Generator
) -> Genomes:
    """Up to `number` distinct networks, evenly over the logarithm of the latency range.

    Random picks crowd around the middle, so every network leans to the fast or the slow labels by
    a share of its own.  The order is random, but the fastest and the slowest of the space come
    last: they validate the table and do not correct it.
    """
    anywhere = trellis.random(POPULATION, rng)
    ms = trellis.totals(row_ms, anywhere)
    leaning = np.empty_like(anywhere)
    lean = rng.random(POPULATION)
    for gene in range(anywhere.shape[1]):
        labels = np.unique(anywhere[:, gene])
        means = [ms[anywhere[:, gene] == label].mean() for label in labels]
        place = np.clip(lean + rng.uniform(-0.5, 0.5, POPULATION), 0, 1 - 1e-9)
        leaning[:, gene] = labels[np.argsort(means)][(place * len(labels)).astype(int)]
    ends = [trellis.extreme(row_ms, most=most)[1] for most in (False, True)]
    genomes = np.concatenate([trellis.encode(ends), leaning, anywhere])
    _, distinct = np.unique(trellis.networks(genomes), axis=0, return_index=True)
    genomes = genomes[np.sort(distinct)]
    chosen = _choose_evenly(np.log(trellis.totals(row_ms, genomes)), number)
    if len(chosen) < MIN_NETWORKS:
        raise UserError(
            f"the space has only {len(chosen)} networks; a latency table needs {MIN_NETWORKS} to "
            "be corrected and tested: widen it"
        )
    extremes = [i for i in (0, 1) if i in chosen]
    others = rng.permutation(np.setdiff1d(chosen, extremes))
    return np.asarray(genomes[np.r_[others, extremes].astype(int)])


def _choose_evenly(values: Floats, number: int) -> NDArray[np.intp]:
    """Indices of `number` values nearest to an even grid over their range, each taken once."""
    if len(values) <= number:
        return np.arange(len(values))
    left = np.ones(len(values), bool)
    for point in np.linspace(values.min(), values.max(), number):
        left[np.where(left, np.abs(values - point), np.inf).argmin()] = False
    return np.flatnonzero(~left)


def validate(
    predicted: list[float],
    journal: TimingJournal,
    unseen: dict[str, Part],
    effort: MeasurementEffort,
) -> dict[str, Any]:
    """The figures of the prediction on unseen networks, each with its 95 % interval.

    The intervals are those of other unseen networks, not of a table of another hour: by resampling
    the networks, and for shares exactly (Clopper and Pearson 1934).  `run_to_run` is the mean
    relative difference of networks that are timed once more.
    """
    timings = journal.measure(unseen, "unseen")
    measured = [timing.median_ms for timing in timings]
    figures = {name: interval(f, predicted, measured, effort.seed) for name, f in FIGURES.items()}
    for name in ("within_5", "within_10"):
        figures[name] = share_interval(figures[name].value, len(measured))
    repeated = list(unseen)[: effort.repeat]
    again = journal.measure({f"{key}#2": unseen[key] for key in repeated}, "again")
    pairs = zip(again, measured[: effort.repeat], strict=True)
    differences = [abs(timing.median_ms / first - 1) for timing, first in pairs]
    return {
        "num_networks": len(measured),
        **{name: figure.value for name, figure in figures.items()},
        "intervals": {name: [figure.low, figure.high] for name, figure in figures.items()},
        "noisy": sum(timing.noisy for timing in timings),
        "repeats": len(repeated),
        "run_to_run": float(np.mean(differences)) if repeated else math.nan,
        "seconds": sum(journal.seconds[key] for key in unseen),
    }
