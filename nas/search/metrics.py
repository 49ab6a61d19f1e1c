"""All that is known of one network: a row of trials.csv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Metrics:
    """All that is known of one network; a field is a column of trials.csv.

    state      complete, infeasible (over a limit, never trained), pruned (its training stopped
               at a rung) or failed; `reason` says why
    latency_ms by the search's latency table
    score      what the judge said, higher is better; `fidelity` tells how it came by it
    accuracy   share of the validation images; `test_accuracy` of images that no decision sees
    float_accuracy   on validation images in float32, where the others are of 8 bits
    test_correct   which of these are answered right, to compare networks image by image; in no CSV
    rungs      the score on the way, by epochs done; the last is also the score of a pruned one
    """

    id: str
    state: str
    latency_ms: float
    macs: int
    params: int
    peak_memory_bytes: int
    arch: str
    score: float = float("nan")
    score_se: float = float("nan")
    fidelity: str = ""
    accuracy: float = float("nan")
    accuracy_se: float = float("nan")
    cross_entropy: float = float("nan")
    test_accuracy: float = float("nan")
    test_accuracy_se: float = float("nan")
    seconds: float = 0.0
    reason: str = ""
    over: dict[str, float] = field(default_factory=dict)
    rungs: dict[str, float] = field(default_factory=dict)
    float_accuracy: float = float("nan")
    test_correct: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN as None, which JSON can say."""
        return {k: None if v != v else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metrics:
        """The inverse of `to_json`."""
        known: dict[str, Any] = {k: float("nan") if v is None else v for k, v in data.items()}
        return cls(**known)
