"""The costs that a report shows, and figures as it writes them."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, hypot, isfinite, log10
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Row = Mapping[str, Any]
Floats = NDArray[np.float64]


class Metric(NamedTuple):
    """A figure of a network: its column, its name, its unit and how much one unit is."""

    column: str
    label: str
    unit: str
    scale: float


LATENCY, MACS = Metric("latency_ms", "latency", "ms", 1), Metric("macs", "MACs", "M", 1e6)
PARAMS = Metric("params", "parameters", "M", 1e6)
MEMORY = Metric("peak_memory_bytes", "peak memory", "KiB", 1024)
MEASURED = Metric("measured_ms", "measured latency", "ms", 1)  # of the whole network
AXES = (LATENCY, MEASURED, MACS, PARAMS, MEMORY)
TIMES = (LATENCY, MEASURED)  # which a target is one of


def values(rows: pd.DataFrame, metric: Metric) -> Floats:
    """A metric of rows [n], in its unit."""
    return rows[metric.column].to_numpy(float) / metric.scale


def percent(rows: pd.DataFrame) -> Floats:
    """The accuracy of rows [n]."""
    return 100 * rows["accuracy"].to_numpy(float)


def digits(value: float) -> str:
    """Three significant digits, never an exponent."""
    if not isfinite(value) or not value:
        return "–" if value else "0"
    return f"{value:,.{max(0, 2 - floor(log10(abs(value))))}f}"


def accuracy(row: Row) -> str:
    """In percent, with its standard error if that is known."""
    error = f" ± {100 * row['accuracy_se']:.2f}" if isfinite(row["accuracy_se"]) else ""
    return f"{100 * row['accuracy']:.2f}{error}"


def name_of(row: Row) -> str:
    """A network's own name, or its id."""
    known = isinstance(row["name"], str) and row["name"]
    return row["name"] if known else f"network {row['id']}"


def is_noise(cheaper: Row, row: Row) -> bool:
    """Whether the gain in accuracy is below two standard errors of an unpaired difference."""
    error = hypot(cheaper["accuracy_se"], row["accuracy_se"])
    return bool(row["accuracy"] - cheaper["accuracy"] < 2 * error)
