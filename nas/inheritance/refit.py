"""A whole smaller network: its blocks put together, and each fitted in turn to the trained one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.arch.operators import operators
from nas.inheritance.least_squares import Moments
from nas.inheritance.replacements import Images, Replacement, sampled
from nas.inheritance.surgery import (
    columns,
    features,
    folded,
    last_conv,
    unfold_into,
)
from nas.network.device import to_device
from nas.network.modules import Network, OperatorModule

REFIT_RIDGE = 1e-2  # of the mean variance, towards the weights that the block has by itself


@dataclass(frozen=True)
class Answers:
    """What each block of the trained network puts out: sampled pixels (n, cout), by place."""

    blocks: Mapping[str, Tensor]

    @classmethod
    def of(cls, net: Network, images: Images) -> Answers:
        """Of these pictures; activated blocks before their activation, and without their input."""
        found: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            for number, x in enumerate(images()):
                for place, module in net.named_children():
                    if not refittable(module) or place == "stem":
                        x = module(x)
                        continue
                    assert isinstance(module, OperatorModule)
                    last = last_conv(module)
                    linear = last.linear(features(module, x))
                    wanted = x + linear if _adds_input(module) else linear
                    maps = wanted.flatten(2).transpose(1, 2)
                    found.setdefault(place, []).append(sampled(place, number, maps))
                    out = last.act(linear)
                    x = x + out if module.residual else out
        return cls({place: torch.cat(parts) for place, parts in found.items()})


def refittable(module: nn.Module) -> bool:
    """Whether a row ends in a convolution, which can be solved anew."""
    return hasattr(list(module.children())[-1], "conv")


def _adds_input(module: OperatorModule) -> bool:
    """Whether the row adds its input to what its last convolution puts out, not activated."""
    return module.residual and isinstance(last_conv(module).act, nn.Identity)


def choose_rows(
    net: Network, arch: Arch, table: Mapping[str, list[Replacement]]
) -> list[tuple[str, nn.Module]]:
    """(place, module) of the rows of `arch`, each with its own weights."""
    trained = dict(net.named_children())
    chosen = []
    for row in operators(arch):
        known = table.get(row.place, ())
        module = next((r.module for r in known if r.row and r.row.layers == row.layers), None)
        chosen.append((row.place, module or trained[row.place]))
    return chosen


def inherit(
    net: Network,
    arch: Arch,
    table: Mapping[str, list[Replacement]],
    answers: Answers,
    images: Images,
    *,
    refit: bool = True,
) -> Network:
    """The network of `arch`, whose rows are the trained `net`'s or replacements in `table`.

    The last convolution of each block is solved again, in order, to answer on the smaller
    network's own maps as the trained network does on its own.
    """
    small = Network(arch).eval()
    to_device(small, next(net.parameters()).device)
    for place, module in choose_rows(net, arch, table):
        small.get_submodule(place).load_state_dict(module.state_dict())
    if refit:
        refit_in_order(small, answers, images)
    return small


def refit_in_order(small: Network, answers: Answers, images: Images) -> None:
    """Solve the last convolution of every block of `small` anew, in place, from front to back."""
    with torch.inference_mode():
        maps = list(images())
        for place, module in small.named_children():
            if place in answers.blocks:
                assert isinstance(module, OperatorModule)
                _refit(module, place, answers.blocks[place], maps)
            if place == "pool":
                return
            maps = [module(x) for x in maps]


def _refit(module: OperatorModule, place: str, wanted: Tensor, maps: list[Tensor]) -> None:
    last, adds_input = last_conv(module), _adds_input(module)
    near = folded(last)[0]
    moments = Moments(*near.shape)
    start = 0
    for number, x in enumerate(maps):
        read = sampled(place, number, columns(last, features(module, x)))
        target = wanted[start : start + len(read)]
        if adds_input:
            target = target - sampled(place, number, x.flatten(2).transpose(1, 2))
        moments.add(read, target)
        start += len(read)
    unfold_into(last, *moments.problem().solve(near, REFIT_RIDGE))
