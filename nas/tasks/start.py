"""First weights of a network for boxes or masks: a published backbone, and a small head."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from nas.arch.arch import Arch
from nas.arch.operators import in_backbone
from nas.network.modules import Network, build
from nas.network.weight_files import read_networks
from nas.training.first_weights import FirstWeights

HEAD_STD = 0.01  # of the first weights of last layers (SSD's code .03, RetinaNet's .01)
HEADS = ("boxes", "answers")  # places of rows
ANEW = "anew: the head"
KINDS = (nn.Conv2d, nn.BatchNorm2d)


def start_head(net: Network) -> None:
    """First weights of the head's last layers: small, so that no answer is wild at the start."""
    generator = torch.Generator().manual_seed(0)
    for place, row in net.named_children():
        for module in row.modules() if place in HEADS else ():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.weight, 0, HEAD_STD, generator=generator)


def new_norms(net: Network) -> list[nn.Module]:
    """The head's norms, which no first weights bring."""
    rows = (row for place, row in net.named_children() if not in_backbone(place))
    return [m for row in rows for m in row.modules() if isinstance(m, nn.BatchNorm2d)]


def load_backbone(weights: FirstWeights, net: Network, arch: Arch, seed: int) -> str:
    """Put weights of a classifier on the same backbone into `net`, in place, or those of a network
    with such a head, as far as it answers alike; whose they are, and what begins anew.

    Raises UserError where they do not fit.
    """
    if origin := _load_own(weights, net):
        return origin
    plain = build(replace(arch, dense=None), seed)
    origin, _ = weights.load_into(plain)
    for target, source in zip(backbone(net), backbone(plain), strict=True):
        target.load_state_dict(source.state_dict())
    return f"{origin} · {ANEW}"


def _load_own(weights: FirstWeights, net: Network) -> str:
    """Weights that `nas.train` or a search left of a network with a head; "" for others."""
    known = net.state_dict()
    states = read_networks(weights.path, weights.key).values() if weights.path else ()
    for state in (state for state in states if state.keys() == known.keys()):
        fitting = {name: x for name, x in state.items() if x.shape == known[name].shape}
        if all(name in fitting for name in known if in_backbone(name)):
            net.load_state_dict(fitting, strict=False)
            return f"{weights.path}" + ("" if len(fitting) == len(known) else f" · {ANEW}")
    return ""


def backbone(net: Network) -> list[nn.Module]:
    """Convolutions and norms of stem, blocks and last convolution, in order of execution."""
    rows = (row for place, row in net.named_children() if in_backbone(place))
    return [module for row in rows for module in row.modules() if isinstance(module, KINDS)]
