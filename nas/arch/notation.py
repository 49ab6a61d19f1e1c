"""An architecture in one line that a person can read, and what a model's file says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from nas.arch.arch import Arch, Stage, strides
from nas.arch.blocks import BLOCKS, Block
from nas.arch.operators import network_id


def arch_string(arch: Arch) -> str:
    """The stages joined by " | ", blocks of one stage that differ by " + "; what reads it
    back (`nas.report.notation`) believes it by the network's id only.

    `mbconv_k5_s2_e6_c40_se0.25_hswish_d2`: operation, kernel, stride, expansion ratio, width,
    SE ratio, activation, depth; before the depth "noskip" and "nonlinear" for what is not usual.
    `uib_k3-5_...` has two kernels, 0 for none.
    """
    stem, head = arch.stem, arch.head
    parts = [f"r{arch.resolution} stem_k{stem.kernel}_s{stem.stride}_c{stem.width}_{stem.act}"]
    taken = zip(arch.stages, strides(arch), strict=True)
    parts += [" + ".join(_runs(stage, stride)) for stage, stride in taken if stage.depth]
    if head.width:
        hidden = f"_h{head.hidden}" if head.hidden and not arch.dense else ""
        parts.append(f"head_c{head.width}{hidden}_{head.act}")
    if arch.dense:
        stride = f"_os{arch.dense.output_stride}" if arch.dense.output_stride else ""
        finer = f"_f{arch.dense.finer_maps}" if arch.dense.finer_maps else ""
        parts.append(f"{arch.dense.op}{stride}_c{arch.dense.width}{finer}")
    return " | ".join(parts)


def network_facts(arch: Arch) -> dict[str, str]:
    """Metadata of a model of `arch`: its id, its `arch_string`, and its name if it has one."""
    facts = {"network_id": network_id(arch), "architecture": arch_string(arch), "name": arch.name}
    return {key: value for key, value in facts.items() if value}


def _runs(stage: Stage, first: int) -> Iterator[str]:
    for i, (block, run) in enumerate(groupby(stage.slots())):
        yield _block_form(block, 1 if i else first, stage.width, len(list(run)))


def _block_form(block: Block, stride: int, width: int, depth: int) -> str:
    kind = BLOCKS[block.op]
    if not kind.convolves:
        return f"{block.op}_s{stride}_c{width}_d{depth}"
    expand = f"_e{block.expand:g}" if kind.expands else ""
    se = f"_se{block.se:g}" if block.se else ""
    odd = "_noskip" * (not block.skip) + "_nonlinear" * (not block.linear) if kind.residual else ""
    kernel = f"{block.first_kernel}-{block.kernel}" if kind.two_kernels else f"{block.kernel}"
    return f"{block.op}_k{kernel}_s{stride}{expand}_c{width}{se}_{block.act}{odd}_d{depth}"
