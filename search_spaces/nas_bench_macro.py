"""NAS-Bench-Macro (Su et al. 2021): 8 slots of identity, MBConv k3 e3 or MBConv k5 e6.

CIFAR-10 at 32 pixels; three stages of 2, 3, 3 layers with 64, 128, 256 channels, each stage
beginning with stride 2; 6,561 codes for 3,969 distinct networks.
"""

from __future__ import annotations

from nas.arch import Arch, Block, Head, Stage, Stem
from nas.core.errors import UserError
from nas.space import choices, fill, one_of

OPERATIONS = {
    "0": Block(op="identity", act="relu"),
    "1": Block(kernel=3, expand=3, act="relu"),
    "2": Block(kernel=5, expand=6, act="relu"),
}


def nas_bench_macro(resolution: int = 32, channels: int = 3, classes: int = 10) -> Arch:
    """The space; its choices in order are the eight digits of a code."""
    stages = tuple(
        Stage(
            width=width,
            depth=depth,
            stride=2,
            blocks=tuple(one_of(OPERATIONS) for _ in range(depth)),
        )
        for width, depth in ((64, 2), (128, 3), (256, 3))
    )
    return Arch(
        stages=stages,
        stem=Stem(width=32, stride=1),
        head=Head(width=1280, act="relu", dropout=0.0),
        resolution=resolution,
        channels=channels,
        classes=classes,
    )


def network(code: str) -> Arch:
    """The network of an eight-digit code such as 22212220, the most accurate one."""
    if len(code) != 8 or not set(code) <= set(OPERATIONS):
        raise UserError(f"a NAS-Bench-Macro code is eight digits of 0, 1, 2, not {code!r}")
    space = nas_bench_macro()
    return fill(space, dict(zip(choices(space), code, strict=True)))
