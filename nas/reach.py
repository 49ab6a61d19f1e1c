"""What a space can reach, before anything is spent on it."""

from __future__ import annotations

from nas.arch import Arch
from nas.cost import cost
from nas.errors import UserError
from nas.evaluate import Evaluator
from nas.space import Label, choices, fill


def by_cost(space: Arch) -> dict[str, list[Label]]:
    """The labels of every choice from the fewest MACs to the most, the others at their cheapest.

    Exact where a cheaper label is cheaper whatever the others are, as with depth, width, kernel,
    expansion and SE; a second round corrects what depended on later choices.
    """
    order = {key: list(labels) for key, labels in choices(space).items()}
    for _ in range(2):
        for key in order:
            least = {k: labels[0] for k, labels in order.items()}
            macs = {label: cost(fill(space, least | {key: label})).macs for label in order[key]}
            order[key].sort(key=lambda label: macs[label])
    return order


def smallest_network(space: Arch) -> Arch:
    """The network of fewest MACs."""
    return fill(space, {key: labels[0] for key, labels in by_cost(space).items()})


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
