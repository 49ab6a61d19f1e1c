"""How a latency table is built: which blocks and networks are timed, corrected and validated."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.notation import arch_string
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.block_features import signature
from nas.latency.model import column_names, correct, d_optimal_rows, fit_blocks, matrix
from nas.latency.table import LatencyTable, MeasurementEffort
from nas.latency.timing import Timing
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
    space: Arch, trellis: Trellis, journal: TimingJournal, effort: MeasurementEffort
) -> tuple[LatencyTable, list[dict[str, Any]]]:
    """Measure, correct and validate the table of `space`; what was timed stays in `journal`.

    Returns the table and, a dict each, the networks that corrected and validated it.  Killed in
    the middle and called again, it goes on with what the journal has.
    """
    rng = np.random.default_rng(effort.seed)
    blocks = choose_blocks(trellis.rows, effort.blocks, rng)
    block_parts = {part_key([row]): (row,) for row in blocks}
    isolated = journal.measure(block_parts, "blocks")
    block_ms = [timing.median_ms for timing in isolated]
    began = time.perf_counter()
    by_blocks = fit_blocks(blocks, block_ms)
    row_ms = np.array([by_blocks.row_ms(row) for row in trellis.rows])
    genomes = choose_networks(trellis, row_ms, effort.calibrate + effort.validate, rng)
    archs = [fill(space, picks) for picks in trellis.decode(genomes)]
    parts = {part_key(rows): rows for rows in map(operators, archs)}
    share = effort.calibrate / (effort.calibrate + effort.validate)
    fitting = dict(list(parts.items())[: round(share * len(parts))])
    unseen = {key: rows for key, rows in parts.items() if key not in fitting}
    seconds = time.perf_counter() - began
    whole = journal.measure(fitting, "networks")
    network_ms = [timing.median_ms for timing in whole]
    model = correct(by_blocks, blocks, block_ms, list(fitting.values()), network_ms)
    seconds += sum(journal.seconds[key] for key in [*block_parts, *fitting])
    true = journal.measure(unseen, "unseen")
    predicted = [model.network_ms(rows) for rows in unseen.values()]
    validation = {
        **validation_figures(predicted, true, effort.seed),
        **run_to_run(journal, unseen, effort.repeat),
        "seconds": sum(journal.seconds[key] for key in unseen),
    }
    table = LatencyTable(
        model=model,
        blocks=tuple((signature(row), t) for row, t in zip(blocks, isolated, strict=True)),
        num_keys=len(trellis.rows),
        validation=validation,
        seconds=seconds,
        identity=journal.backend.identity(),
    )
    roles = ["calibrate"] * len(fitting) + ["validate"] * len(unseen)
    return table, network_rows(table, archs, [*whole, *true], roles)


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

    Random picks crowd around the middle.  So every network here leans to the fast or to the slow
    labels, each by a share of its own.  They are in random order, but the fastest and the slowest
    of the space come last: they validate the table and do not correct it.
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


def validation_figures(
    predicted: Sequence[float], true: Sequence[Timing], seed: int
) -> dict[str, Any]:
    """The figures of the prediction on unseen networks, each with its 95 % interval.

    The intervals say what other unseen networks would give with this very table: by resampling
    the networks, and exactly (Clopper and Pearson 1934) for shares.  They do not say what a table
    of another hour would give.
    """
    measured = [timing.median_ms for timing in true]
    figures = {name: interval(f, predicted, measured, seed) for name, f in FIGURES.items()}
    for name in ("within_5", "within_10"):
        figures[name] = share_interval(figures[name].value, len(measured))
    return {
        "num_networks": len(measured),
        **{name: figure.value for name, figure in figures.items()},
        "intervals": {name: [figure.low, figure.high] for name, figure in figures.items()},
        "noisy": sum(timing.noisy for timing in true),
    }


def run_to_run(journal: TimingJournal, parts: Mapping[str, Part], number: int) -> dict[str, Any]:
    """The run-to-run spread: mean relative difference of networks that are timed once more."""
    chosen = dict(list(parts.items())[:number])
    again = journal.measure({f"{key}#2": rows for key, rows in chosen.items()}, "again")
    first = np.array([journal.known[key].median_ms for key in chosen])
    second = np.array([timing.median_ms for timing in again])
    spread = float(np.mean(np.abs(second / first - 1))) if number else None
    return {"repeats": len(chosen), "run_to_run": spread}


def network_rows(
    table: LatencyTable, archs: Sequence[Arch], timings: Sequence[Timing], roles: Sequence[str]
) -> list[dict[str, Any]]:
    """One dict a network, for networks.csv and the pictures."""
    predicted = table.measure_many(archs)
    return [
        {
            "role": role,
            "predicted_ms": prediction.median_ms,
            **asdict(timing),
            "arch": arch_string(arch),
        }
        for role, prediction, timing, arch in zip(roles, predicted, timings, archs, strict=True)
    ]
