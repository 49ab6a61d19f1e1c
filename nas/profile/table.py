"""A network as the rows of a paper's table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from nas.arch.arch import Arch
from nas.arch.blocks import BLOCKS
from nas.arch.cost import BYTES_PER_ACTIVATION, layers_cost
from nas.arch.layers import FIRST_DEPTHWISE, Conv, Linear, MaxPool, Operator, SqueezeExcite
from nas.arch.operators import operators

TABLE_WIDTH = 120  # characters; in a narrower window or a pipe lines are long, and no figure is cut
HEAD = ("input", "operator", "k", "exp", "out", "SE", "act", "s", "+", "MACs", "params", "KB", "ms")


def table_rows(arch: Arch) -> list[dict[str, Any]]:
    """One dict an operator: what it computes, and what that costs."""
    return [_row(row) for row in operators(arch)]


def _row(row: Operator) -> dict[str, Any]:
    convs = [layer for layer in row.layers if isinstance(layer, Conv)]
    after = [conv for conv in convs if conv.role != FIRST_DEPTHWISE]
    pools = [layer for layer in row.layers if isinstance(layer, MaxPool)]  # of 3x3 and stride 2
    kernels = [conv.kernel for conv in after] + [3 for _ in pools]
    squeeze = next((x.squeeze for x in row.layers if isinstance(x, SqueezeExcite)), 0)
    acts = (x.act for x in row.layers if isinstance(x, Conv | Linear) and x.act)
    kind = BLOCKS.get(row.op)
    if kind and kind.two_kernels:
        kernels = [conv.kernel for conv in after if conv.role == "depthwise"]
    hidden = convs[-1].cin if convs and kind and kind.expands else None
    macs, params, _ = layers_cost(row.layers)
    return {
        "place": row.place,
        "operator": row.op,
        "input": [row.side, row.side, row.cin],
        "kernel": max(kernels, default=None),
        "first_kernel": convs[0].kernel if len(after) < len(convs) else None,
        "hidden": hidden,
        "expand": round(hidden / row.cin, 4) if hidden else None,
        "width": row.cout,
        "se": squeeze or None,
        "act": next(acts, None),
        "stride": max([conv.stride for conv in convs] + [2 for _ in pools], default=None),
        "residual": row.residual,
        "macs": macs,
        "params": params,
        "memory_bytes": row.cout * row.side_out**2 * BYTES_PER_ACTIVATION,
    }


def print_table(console: Console, arch: Arch, rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows, with their latency where `time_network` measured it."""
    table = Table(title=f"{arch.name} at {arch.resolution} pixels", title_justify="left", box=None)
    for name in HEAD:
        table.add_column(name, justify="left" if name in {"input", "operator", "act"} else "right")
    for row in rows:
        side, _, channels = row["input"]
        expand = f"{row['expand']:g}" if row["expand"] else None
        plus = "+" if row["residual"] else None
        first = row["first_kernel"]
        kernel = f"{first}-{row['kernel'] or 0}" if first else row["kernel"]
        shown = (kernel, expand, row["width"], row["se"], row["act"], row["stride"], plus)
        table.add_row(
            f"{side}² x {channels}",
            row["operator"],
            *("" if value is None else str(value) for value in shown),
            f"{row['macs']:,}",
            f"{row['params']:,}",
            f"{row['memory_bytes'] / 1024:,.1f}",
            f"{row['alone_ms']:.3g}" if "alone_ms" in row else "",
        )
    console.print(table)
