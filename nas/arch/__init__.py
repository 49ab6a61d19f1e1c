"""One network, without torch: what it is, its layers, cost, notation, scaling, YAML."""

from nas.arch.arch import Arch, Head, ImageSpec, Stage, Stem
from nas.arch.blocks import BLOCKS, Block, BlockKind
from nas.arch.cost import Cost, cost
from nas.arch.layers import round_channels
from nas.arch.notation import arch_string
from nas.arch.operators import network_id, operators
from nas.arch.serialization import dumps, load, loads

__all__ = [
    "BLOCKS",
    "Arch",
    "Block",
    "BlockKind",
    "Cost",
    "Head",
    "ImageSpec",
    "Stage",
    "Stem",
    "arch_string",
    "cost",
    "dumps",
    "load",
    "loads",
    "network_id",
    "operators",
    "round_channels",
]
