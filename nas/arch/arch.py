"""What a network is: frozen, hashable, plain data.

An `Arch` says what a paper's table says, one `Stage` a row.  A field may hold a hole
(`nas.space.choices.OneOf`) instead of a value; an `Arch` with holes is a search space.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from nas.arch.blocks import Block
from nas.arch.dense import Dense
from nas.arch.fields import check_fields, shown
from nas.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Stage:
    """`depth` blocks of one `width` (output channels); the first block has the `stride`.

    `blocks` is one `Block` for all of them, or a tuple with one per slot; the last of the tuple
    repeats when `depth` is greater, and blocks beyond `depth` have no effect.
    """

    width: int
    depth: int = 1
    stride: int = 1
    blocks: Block | tuple[Block, ...] = Block()  # noqa: RUF009  it is frozen

    def __post_init__(self) -> None:
        check_fields(self)
        if isinstance(self.blocks, tuple) and not self.blocks:
            raise UserError("a stage needs at least one block, not an empty list")

    def slots(self) -> tuple[Block, ...]:
        """The `depth` blocks that the stage is made of, in order."""
        blocks = self.blocks if isinstance(self.blocks, tuple) else (self.blocks,)
        return (*blocks[: self.depth], *blocks[-1:] * (self.depth - len(blocks)))


@dataclass(frozen=True, slots=True)
class Stem:
    """The first convolution, with norm and activation."""

    width: int = 32
    kernel: int = 3
    stride: int = 2
    act: str = "relu"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class Head:
    """What follows the last stage: 1x1 convolution, average pool, hidden layer, classifier.

    width     channels of the 1x1 convolution; 0 for none (MobileNetV1).
    hidden    width of a layer between pool and classifier (MobileNetV3's efficient last stage,
              Howard et al. 2019, Figure 5); 0 for none.
    hidden_layer  "linear" as torchvision has it, or "conv" (1x1) as TensorFlow: the same numbers;
              or "conv_norm", a convolution with norm (MobileNetV4).
    dropout   rate before the classifier.
    """

    width: int = 1280
    act: str = "relu"
    hidden: int = 0
    hidden_layer: str = "linear"
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_fields(self, min_width=0)


class ImageSpec(NamedTuple):
    """What images ask of a network: channels, number of classes, side in pixels."""

    channels: int
    classes: int
    resolution: int


@dataclass(frozen=True, slots=True)
class Arch:
    """A whole network.

    resolution   side of the square input, in pixels;  channels: of the input.
    padding      "symmetric" (kernel // 2 on all sides) or TensorFlow's "same".
    bn_momentum  of every batch norm, as torch counts it.
    drop_path    stochastic depth: block i of n drops its residual branch at rate drop_path * i/n.
    dense        what answers boxes or masks in the place of pool and classifier, if anything.
    """

    stages: tuple[Stage, ...]
    stem: Stem = Stem()
    head: Head = Head()
    resolution: int = 224
    channels: int = 3
    classes: int = 1000
    padding: str = "symmetric"
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    drop_path: float = 0.0
    name: str = field(default="", compare=False)
    dense: Dense | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.stages:
            raise UserError("a network needs at least one stage, not an empty list")

    def __repr__(self) -> str:
        return shown(self)


def strides(arch: Arch) -> list[int]:
    """The stride that each stage takes; 1 for a skipped one.

    A stage of depth 0 leaves its stride to the next stage that has none of its own, so that a
    skipped stage does not double the sides of all that follow.
    """
    taken, owed = [], 0
    for stage in arch.stages:
        stride = stage.stride
        if not stage.depth:
            owed, stride = owed + (stride > 1), 1
        elif stride == 1 and owed:
            owed, stride = owed - 1, 2
        taken.append(stride)
    return taken
