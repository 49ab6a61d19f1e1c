"""The latency table of a space on a device.

Some two hundred blocks are timed alone, those that together tell most about all; what the
others take follows from the counts of their layers (`nas.latency.model`).  Some whole networks
correct the sum, and others, which nothing was fitted to, say how wrong it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.core.typed import Count, Natural, Range, check_fields
from nas.latency.curve import Curve, Floats
from nas.latency.model import LatencyModel
from nas.latency.timing import Timing

# What a table must reach to be trusted, on networks that it never saw.
ACCEPTANCE = {"mape": 0.03, "within_5": 0.80, "within_10": 0.95, "spearman": 0.99}


def missed_bars(validation: Mapping[str, Any]) -> list[str]:
    """In words, what a table's validation fell short of; KeyError where it is none."""
    words = {
        "mape": "its mean error is {0:.2%} (bar: at most {1:.0%})",
        "within_5": "{0:.1%} of networks are within 5 % (bar: {1:.0%})",
        "within_10": "{0:.1%} of networks are within 10 % (bar: {1:.0%})",
        "spearman": "it ranks networks at Spearman {0:.4f} (bar: {1})",
    }
    figures = {name: validation[name] for name in ACCEPTANCE}
    return [
        words[name].format(figures[name], bar)
        for name, bar in ACCEPTANCE.items()
        if not (figures[name] <= bar if name == "mape" else figures[name] >= bar)
    ]


@dataclass(frozen=True, slots=True)
class MeasurementEffort:
    """How many blocks are timed alone, and how many networks correct and validate their sum.

    `repeat` of those that validate are timed again, for the spread from run to run.
    """

    blocks: Count = 200
    calibrate: Annotated[int, Range(4)] = 40
    validate: Annotated[int, Range(4)] = 100
    repeat: Natural = 20
    seed: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self, "table")


@dataclass(frozen=True)
class LatencyTable:
    """The latency of every network of a space on one device, and how wrong it is.

    blocks       what was timed alone: the row's signature and its timing.
    num_keys     distinct blocks of the space.
    validation   figures on networks that the table never saw (see `nas.latency.build.validate`).
    seconds      of timing blocks and the networks that correct them; the validation has its own.
    identity     of the backend and its device.
    """

    model: LatencyModel
    blocks: tuple[tuple[dict[str, Any], Timing], ...]
    num_keys: int
    validation: dict[str, Any]
    seconds: float
    identity: dict[str, Any]
    name: ClassVar[str] = "table"

    @property
    def overhead_ms(self) -> float:
        """What a network's sum has beside its rows, in milliseconds."""
        return self.model.overhead_ms

    def row_ms(self, row: Operator, resolution: int = 0) -> float:
        """What the row adds to a network's sum, of whatever resolution, in milliseconds."""
        return self.model.row_ms(row)

    def whole_ms(self, sums: Floats) -> Floats:
        """Milliseconds of whole networks, by the sums over their rows; any shape."""
        return self.model.whole_ms(sums)

    def sum_ms(self, whole: Floats) -> Floats:
        """The inverse of `whole_ms`."""
        return self.model.sum_ms(whole)

    def measure_many(self, archs: Sequence[Arch]) -> list[Timing]:
        """Predictions as timings without interval; the validation has the error."""
        sums = [self.model.network_ms(operators(arch)) for arch in archs]
        return [Timing(ms, math.nan, math.nan, math.nan, runs=0, noisy=False) for ms in sums]

    def describe(self) -> dict[str, Any]:
        """Where the table comes from and how wrong it is."""
        return {"table_of": self.identity, "validation": self.validation}

    def warnings(self) -> list[str]:
        """In words, what the validation fell short of."""
        return missed_bars(self.validation)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `table.json`."""
        blocks = [{**row, **timing.to_dict()} for row, timing in self.blocks]
        return {**asdict(replace(self, blocks=())), "blocks": blocks}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencyTable:
        """The inverse of `to_json`; ValueError for times that cannot be.

        A table without a curve was saved before there were any, and its networks are sums.
        """
        fitted = data["model"]
        own = {"alone": tuple(fitted["alone"]), "curve": Curve(**fitted.get("curve", {}))}
        model = LatencyModel(**{**fitted, **own})
        factor, call_ms = model.alone
        times = [*model.coefficients.values(), model.overhead_ms, factor, call_ms]
        if not all(0 <= time < math.inf for time in times):
            raise ValueError("times must be finite, and 0 or more")
        fields = list(Timing.__dataclass_fields__)
        blocks = tuple(
            (
                {k: v for k, v in row.items() if k not in fields},
                Timing(**{f: row[f] for f in fields if f in row}),
            )
            for row in data["blocks"]
        )
        validation = {k: math.nan if v is None else v for k, v in data["validation"].items()}
        return cls(**{**data, "model": model, "blocks": blocks, "validation": validation})
