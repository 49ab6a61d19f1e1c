"""A whole smaller network: its blocks put together, and each fitted in turn to the trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.arch.operators import in_backbone, operators
from nas.inheritance.least_squares import Moments
from nas.inheritance.replacements import PIXELS, Images, Replacement, sampled
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
HELD_BYTES = 300e6  # of what a convolution reads, so that it need not be computed twice


@dataclass(frozen=True)
class Answers:
    """What each block of the trained network puts out: sampled pixels (n, cout), by place.

    pixels   of each picture's map.
    """

    blocks: Mapping[str, Tensor]
    pixels: int = PIXELS

    @classmethod
    def of(cls, net: Network, images: Images, pixels: int = PIXELS) -> Answers:
        """Of these pictures; activated blocks before their activation, and without their input."""
        found: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            for number, x in enumerate(images()):
                for place, module in net.named_children():
                    if not in_backbone(place):
                        break
                    if not refittable(module) or place == "stem":
                        x = module(x)
                        continue
                    assert isinstance(module, OperatorModule)
                    last = last_conv(module)
                    linear = last.linear(features(module, x))
                    wanted = x + linear if _adds_input(module) else linear
                    maps = wanted.flatten(2).transpose(1, 2)
                    found.setdefault(place, []).append(sampled(place, number, maps, pixels))
                    out = last.act(linear)
                    x = x + out if module.residual else out
        return cls({place: torch.cat(parts) for place, parts in found.items()}, pixels)


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
            if not in_backbone(place):
                return
            if place in answers.blocks:
                assert isinstance(module, OperatorModule)
                maps = _refit(module, place, answers, maps)
            else:
                maps = [module(x) for x in maps]


def _refit(
    module: OperatorModule, place: str, answers: Answers, maps: Sequence[Tensor]
) -> list[Tensor]:
    """Solve the last convolution for maps (N, cin, H, W); what the block then makes of them."""
    last, adds_input = last_conv(module), _adds_input(module)
    near = folded(last)[0]
    moments = Moments(*near.shape)
    start, held = 0, dict[int, Tensor]()
    for number, x in enumerate(maps):
        read = features(module, x)
        if len(maps) * read.nbytes <= HELD_BYTES:
            held[number] = read
        pixels = sampled(place, number, columns(last, read), answers.pixels)
        target = answers.blocks[place][start : start + len(pixels)]
        if adds_input:
            given = x.flatten(2).transpose(1, 2)
            target = target - sampled(place, number, given, answers.pixels)
        moments.add(pixels, target)
        start += len(pixels)
    unfold_into(last, *moments.problem().solve(near, REFIT_RIDGE))
    outs = (last(held[i] if i in held else features(module, x)) for i, x in enumerate(maps))
    return [x + out if module.residual else out for x, out in zip(maps, outs, strict=True)]
