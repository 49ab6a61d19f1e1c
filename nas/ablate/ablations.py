"""The ideas that can be taken out of a network, or put into it: one entry in `ABLATIONS` each.

Which of them a network can have follows from the network: one that changes none of its layers
says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from nas.arch.arch import Arch, Stage
from nas.arch.blocks import BLOCKS, Block
from nas.arch.operators import network_id

Change = Callable[[Arch], Arch]
SE = Block(se=0.25)  # of MnasNet and EfficientNet, where the network has none to take after


@dataclass(frozen=True)
class Ablation:
    """In words what a network becomes, and the function that makes it so."""

    words: str
    change: Change


@dataclass(frozen=True)
class Variant:
    """A network, or it with one ablation, `name`."""

    name: str
    words: str
    arch: Arch


def _in_blocks(change: Callable[[Block], Block]) -> Change:
    """What changes every block."""

    def changed(stage: Stage) -> Stage:
        if isinstance(stage.blocks, tuple):
            return replace(stage, blocks=tuple(map(change, stage.blocks)))
        return replace(stage, blocks=change(stage.blocks))

    return lambda arch: replace(arch, stages=tuple(map(changed, arch.stages)))


def _set(**values: Any) -> Change:
    return _in_blocks(lambda block: replace(block, **values))


def _activate(act: str) -> Change:
    """What has this activation everywhere; inside squeeze-and-excitation where it has no own."""

    def changed(arch: Arch) -> Arch:
        stem, head = replace(arch.stem, act=act), replace(arch.head, act=act)
        return replace(_set(act=act)(arch), stem=stem, head=head)

    return changed


def _excite(arch: Arch) -> Arch:
    """Squeeze-and-excitation in the blocks without, as in the first block that has it."""
    blocks = (block for stage in arch.stages for block in stage.slots())
    like = next((block for block in blocks if block.se), SE)
    names = ("se", "se_from", "se_gate", "se_act")
    values = {name: getattr(like, name) for name in names}
    return _in_blocks(lambda block: block if block.se else replace(block, **values))(arch)


def _kernels(kernel: int) -> Change:
    """What gives every spatial kernel of the blocks this side; those of one pixel stay."""

    def changed(block: Block) -> Block:
        names = (f.name for f in fields(block) if f.name.endswith("kernel"))
        sides: dict[str, Any] = {name: kernel for name in names if getattr(block, name) > 1}
        return replace(block, **sides)

    return _in_blocks(changed)


_fill_convolutions = _in_blocks(lambda block: replace(block, op=BLOCKS[block.op].full or block.op))


ABLATIONS: dict[str, Ablation] = {
    "no_residual": Ablation("no residuals", _set(skip=False)),
    "activated_bottleneck": Ablation("bottlenecks activated", _set(linear=False)),
    "relu": Ablation("ReLU everywhere", _activate("relu")),
    "relu6": Ablation("ReLU6 everywhere", _activate("relu6")),
    "hswish": Ablation("h-swish everywhere", _activate("hswish")),
    "se": Ablation("squeeze-and-excitation in every block", _excite),
    "no_se": Ablation("no squeeze-and-excitation", _set(se=0)),
    "kernel_3": Ablation("all kernels 3x3", _kernels(3)),
    "kernel_5": Ablation("all kernels 5x5", _kernels(5)),
    "expand_1": Ablation("no expansion", _set(expand=1)),
    "full_convolution": Ablation("full convolutions for depthwise ones", _fill_convolutions),
}


def variants_of(arch: Arch, names: Sequence[str]) -> tuple[list[Variant], list[str]]:
    """`arch` and its variants by those ablations; then the names of those that change nothing."""
    found, unchanged = [Variant("network", arch.name, arch)], []
    for name in dict.fromkeys(names):
        ablation = ABLATIONS[name]
        changed = ablation.change(arch)
        if network_id(changed) == network_id(arch):
            unchanged.append(name)
        else:
            changed = replace(changed, name=f"{arch.name}_{name}")
            found.append(Variant(name, ablation.words, changed))
    return found, unchanged
