"""What a space can reach, before anything is spent on it."""

from __future__ import annotations

from dataclasses import asdict

from nas.arch import Arch
from nas.cost import Cost, cost
from nas.errors import UserError
from nas.evaluate import Evaluator
from nas.space import Label, choices, fill

# The field of a Cost that each limit bounds.
COSTS = {"macs": "macs", "params": "params", "memory_kb": "peak_memory_bytes"}


def by_cost(space: Arch) -> dict[str, list[Label]]:
    """The labels of every choice from the fewest MACs to the most, the others at their dearest."""
    order = {key: list(labels) for key, labels in choices(space).items()}
    for _ in range(2):  # a second round, since what is dearest may depend on later choices
        for key in order:
            most = {k: labels[-1] for k, labels in order.items()}
            macs = {label: cost(fill(space, most | {key: label})).macs for label in order[key]}
            order[key].sort(key=lambda label: macs[label])
    return order


def smallest_network(space: Arch, metric: str = "macs") -> Arch:
    """The network with the least `metric` (a field of `Cost`) that descent by single choices finds.

    Exact where a cheaper label is cheaper whatever the others are.
    """
    picks = {key: labels[0] for key, labels in by_cost(space).items()}

    while True:
        before = dict(picks)
        for key, labels in choices(space).items():
            values = {x: getattr(cost(fill(space, picks | {key: x})), metric) for x in labels}
            if min(values.values()) < values[picks[key]]:
                picks[key] = min(values, key=lambda x: values[x])
        if picks == before:
            return fill(space, picks)


def ladder(space: Arch, rungs: int) -> list[dict[str, Label]]:
    """Picks of `rungs` networks from the smallest up to halfway to the largest.

    On each rung every choice stands at the same part of its labels by cost.  Random picks, each
    gene for itself, crowd around the middle; these mark out the cheap end of the front.
    """
    order = by_cost(space)
    shares = [i / (2 * (rungs - 1)) for i in range(rungs)]
    return [
        {key: labels[int(share * (len(labels) - 1) + 0.5)] for key, labels in order.items()}
        for share in shares
    ]


def check_limits(evaluator: Evaluator, space: Arch) -> None:
    """Raise UserError where a limit is below all that was found, or nothing can be measured."""
    limits = {k: v for k, v in asdict(evaluator.limits).items() if v is not None}
    for name in COSTS.keys() & limits.keys():
        least: Cost = cost(smallest_network(space, COSTS[name]))
        have = getattr(least, COSTS[name]) / (1024 if name == "memory_kb" else 1)
        _refuse(name, limits[name], have, f"the least in the space is {have:.4g}")
    (metrics,) = evaluator.measured([smallest_network(space)])
    if metrics.state == "failed":
        raise UserError(f"the smallest network of the space was {metrics.reason}")
    latency = metrics.latency_ms
    most = limits.get("latency_ms", evaluator.most_ms)
    _refuse("latency_ms", most, latency, f"the network of fewest MACs takes {latency:.4g}")


def _refuse(name: str, limit: float, have: float, words: str) -> None:
    if have > limit:
        raise UserError(
            f"limit.{name}={limit:.4g} is out of reach: {words}; raise it or the target, or lower "
            "width="
        )
