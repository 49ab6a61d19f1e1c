"""What a space can reach, before anything is spent on it."""

from __future__ import annotations

from nas.arch import Arch
from nas.cost import cost
from nas.errors import UserError
from nas.evaluate import Evaluator
from nas.space import choices, fill


def smallest_network(space: Arch) -> Arch:
    """The network of fewest MACs: each choice at its cheapest label, given the others.

    Exact where a cheaper label is cheaper whatever the others are, as with depth, width, kernel,
    expansion and SE; a second round corrects what depended on later choices.
    """
    picks = {key: labels[0] for key, labels in choices(space).items()}
    for _ in range(2):
        for key, labels in choices(space).items():
            costs = {label: cost(fill(space, picks | {key: label})).macs for label in labels}
            picks[key] = min(costs, key=lambda label: costs[label])
    return fill(space, picks)


def check_limits(evaluator: Evaluator, space: Arch) -> None:
    """Raise UserError where not even the smallest network can be measured or meets the limits."""
    metrics = evaluator.measured(smallest_network(space))
    if metrics.state == "failed":
        raise UserError(f"the smallest network of the space was {metrics.reason}")
    have = {
        "latency_ms": metrics.latency_ms,
        "macs": metrics.macs,
        "params": metrics.params,
        "memory_kb": metrics.peak_memory_bytes / 1024,
    }
    for limit, over in metrics.over.items():
        if over > 0:
            raise UserError(
                f"limit.{limit}={getattr(evaluator.limits, limit):g} is out of reach: the "
                f"smallest network of the space has {have[limit]:.4g}; raise the limit or "
                "lower width="
            )
