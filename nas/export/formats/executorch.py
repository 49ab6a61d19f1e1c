"""ExecuTorch's programs for phones' processors, through XNNPACK."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import export

from nas.export.formats.format import Image, Logits, Opened, Source


def write_float(source: Source) -> tuple[bytes, ...]:
    """The program in float32."""
    return (_program(source.net, _example(source)),)


def write_int8(source: Source) -> tuple[bytes, ...]:
    """The program in 8 bits, by ExecuTorch's own quantiser with two repairs.

    It knows convolutions with ReLU, but not with ReLU6: between them an observer stays, and the
    clipped tensor shares its wide range.  And a global pool shares its input's scale.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    aten = torch.ops.aten
    quantizer = XNNPACKQuantizer().set_global(
        get_symmetric_quantization_config(is_per_channel=True)
    )
    quantizer.set_filter_function(lambda n: n.target is not aten.adaptive_avg_pool2d.default)
    example = _example(source)
    prepared = prepare_pt2e(export(source.net, example).module(), quantizer)
    for node in prepared.graph.nodes:
        clips = node.target in (aten.hardtanh_.default, aten.hardtanh.default)
        if clips and node.args[0].op == "call_module":
            node.replace_input_with(node.args[0], node.args[0].args[0])
    prepared.graph.eliminate_dead_code()
    prepared.recompile()
    with torch.no_grad():
        for image in source.images:
            prepared(torch.from_numpy(image[None]))
    return (_program(convert_pt2e(prepared), example),)


def _example(source: Source) -> tuple[torch.Tensor]:
    arch = source.arch
    return (torch.zeros(1, arch.channels, arch.resolution, arch.resolution),)


def _program(net: nn.Module, example: tuple[torch.Tensor]) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's, about torch's own code
        exported = export(net, example)
        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        return bytes(edge.to_executorch().buffer)


def open_program(path: Path, source: Source, threads: int) -> Opened:
    """The program in ExecuTorch's runtime; the number of threads is its own."""
    from executorch.runtime import Runtime

    program: Any = Runtime.get().load_program(str(path))
    method = program.load_method("forward")

    def run(image: torch.Tensor) -> Logits:
        logits: Logits = method.execute([image])[0].numpy()[0].copy()  # its buffer is used again
        return logits

    def prepare(image: Image) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image))

    return Opened(prepare, run)
