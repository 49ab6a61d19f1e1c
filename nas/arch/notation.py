"""An architecture in one line that a person can read."""

from __future__ import annotations

from collections.abc import Iterator

from nas.arch.arch import Arch, Stage, Stem, strides
from nas.arch.blocks import BLOCKS, Block


def arch_string(arch: Arch) -> str:
    """One line a person can read, stages joined by " | "; for output only, never parsed.

    `mbconv_k5_s2_e6_c40_se0.25_hswish_d2`: operation, kernel, stride, expansion ratio, width,
    SE ratio, activation, depth; blocks of one stage that differ are joined by " + ".
    """
    parts = [f"r{arch.resolution}", _words("stem", arch.stem)]
    taken = zip(arch.stages, strides(arch), strict=True)
    parts += [" + ".join(_runs(stage, stride)) for stage, stride in taken if stage.depth]
    hidden = f"_h{arch.head.hidden}" if arch.head.hidden else ""
    if arch.head.width:
        parts.append(f"head_c{arch.head.width}{hidden}_{arch.head.act}")
    return " | ".join(parts).replace(" | ", " ", 1)


def _words(kind: str, stem: Stem) -> str:
    return f"{kind}_k{stem.kernel}_s{stem.stride}_c{stem.width}_{stem.act}"


def _runs(stage: Stage, first: int) -> Iterator[str]:
    slots = stage.slots()
    start = 0
    for i in range(1, len(slots) + 1):
        if i == len(slots) or slots[i] != slots[start]:
            stride = 1 if start else first
            yield _block_form(slots[start], stride, stage.width, i - start)
            start = i


def _block_form(block: Block, stride: int, width: int, depth: int) -> str:
    kind = BLOCKS[block.op]
    if not kind.convolves:
        return f"{block.op}_s{stride}_c{width}_d{depth}"
    expand = f"_e{block.expand:g}" if kind.expands else ""
    se = f"_se{block.se:g}" if block.se else ""
    return f"{block.op}_k{block.kernel}_s{stride}{expand}_c{width}{se}_{block.act}_d{depth}"
