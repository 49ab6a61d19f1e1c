"""One network, without torch: what it is, its layers, cost, notation, scaling, YAML."""

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.layers import round_channels
from nas.arch.operators import network_id, operators
from nas.arch.serialization import dumps, load, loads

__all__ = [
    "Arch",
    "Block",
    "Head",
    "Stage",
    "Stem",
    "cost",
    "dumps",
    "load",
    "loads",
    "network_id",
    "operators",
    "round_channels",
]
