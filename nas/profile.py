"""`python -m nas.profile`: a network as its paper would print it, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli import main, make, number, plain
from nas.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from nas.arch import Arch
    from nas.blocks import Operator
    from nas.latency.measure import Timing

ABOUT = """\
Print a network row by row as its paper would, with multiply-adds, parameters and memory, thop's
count beside ours, and the latency measured here."""

TABLE_WIDTH = 120  # characters; in a narrower window or a pipe lines are long, and no figure is cut


def profile(cfg: Any) -> None:
    """Print the profile that `cfg` (conf/profile.yaml) asks for, and write profile.json."""
    from rich.console import Console

    from nas.arch import dumps
    from nas.cost import cost
    from nas.files import write_text
    from nas.latency.page import blocks_page
    from nas.reading import reading_form
    from nas.results import environment, open_folder, write_json

    settings = plain(cfg)
    if not isinstance(settings["measure"], bool):
        raise UserError(f"measure must be true or false, not {settings['measure']!r}")
    arch = chosen(settings)
    timer = make(settings["latency"])
    rows, counts = table_rows(arch), cost(arch)
    thop = thop_count(arch)
    folder = open_folder(Path(str(settings["results"])) / "profile" / folder_name(arch.name))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    timing = timed(arch, timer, rows, console) if settings["measure"] else None
    print_table(console, arch, rows)
    console.print(
        f"total     {counts.macs:,} MACs · {counts.params:,} parameters · peak memory "
        f"{counts.peak_memory_bytes / 1024:,.0f} KB (16 bit, MobileNetV2's Table 3)"
    )
    console.print(explained(counts.macs, thop))
    if timing:
        alone = sum(row["alone_ms"] for row in rows)
        console.print(
            f"latency   {timing.median_ms:.4g} ms median · IQR {timing.iqr_ms:.2g} ms · "
            f"{timing.runs} runs · {timer.name} · its rows alone {alone:.4g} ms in all"
        )
        lead = [f"{timing.median_ms:.4g} ms as a whole, {alone:.4g} ms as the sum of its rows."]
        title = f"{arch.name} at {arch.resolution} pixels, {timer.name}"
        blocks_page(folder / "profile.html", title, lead, rows)
    write_json(
        folder / "profile.json",
        {
            "arch": reading_form(arch),
            "name": arch.name,
            "resolution": arch.resolution,
            "macs": counts.macs,
            "params": counts.params,
            "activations": counts.activations,
            "peak_memory_bytes": counts.peak_memory_bytes,
            "thop": thop,
            "latency_ms": timing.median_ms if timing else None,
            "latency_iqr_ms": timing.iqr_ms if timing else None,
            "rows": rows,
        },
    )
    write_json(folder / "environment.json", environment(latency=timer.describe()))
    write_text(folder / "arch.yaml", dumps(arch))
    page = "profile.html " if timing else ""
    console.print(f"wrote     {folder}/: {page}profile.json arch.yaml environment.json")


def timed(arch: Arch, timer: Any, rows: list[dict[str, Any]], console: Console) -> Timing:
    """The timing of the whole network; each of `rows` learns what it takes alone."""
    from nas.blocks import operators
    from nas.progress import Live

    parts = {(row.layers, row.residual): (row,) for row in operators(arch)}
    with Live(console, "latency", len(parts), 0) as live:
        done = count(1)
        found = timer.measure_rows(
            list(parts.values()), arch.padding, lambda i, timing: live(next(done), "")
        )
    alone = dict(zip(parts, found, strict=True))
    for row, operator in zip(rows, operators(arch), strict=True):
        timing = alone[(operator.layers, operator.residual)]
        row |= {"alone_ms": timing.median_ms, "noisy": timing.noisy}
    whole: Timing = timer.measure(arch)
    return whole


def folder_name(name: str) -> str:
    """One folder's name from a network's, which may say anything: a/b becomes a_b."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:100] or "network"


def chosen(settings: dict[str, Any]) -> Arch:
    """The network that `arch=` names, or the YAML file that it points to, with the overrides."""
    from nas.arch import is_file, load
    from nas.compound import scaled
    from search_spaces.published import PUBLISHED, at_width

    number(settings, "width", 0.05, 16)
    highest = {"resolution": 8192, "classes": 1_000_000}
    given = {k: number(settings, k, 1, high, whole=True) for k, high in highest.items()}
    name, width = str(settings["arch"]), settings["width"]
    if is_file(name):
        arch = load(name)
        arch = scaled(arch, width=width) if width else arch
        arch = replace(arch, name=arch.name or Path(name).stem)
    else:
        full = at_width(name, width) if width else name
        if width and width != 1 and full == name and name in PUBLISHED:
            raise UserError(f"arch={name} has its width already: drop width={width}")
        arch = PUBLISHED[full]
    return replace(arch, **{k: value for k, value in given.items() if value})


def table_rows(arch: Arch) -> list[dict[str, Any]]:
    """One dict a row: operator, input, kernel, expansion, width, SE, activation, stride, costs."""
    from nas.blocks import operators

    return [_row(row) for row in operators(arch)]


def _row(row: Operator) -> dict[str, Any]:
    from nas.blocks import Conv, Linear, SqueezeExcite
    from nas.cost import BYTES_PER_ACTIVATION, layers_cost

    convs = [layer for layer in row.layers if isinstance(layer, Conv)]
    spatial = max(convs, key=lambda c: (c.kernel, c.groups), default=None)
    squeeze = next((x.squeeze for x in row.layers if isinstance(x, SqueezeExcite)), 0)
    acts = [x.act for x in row.layers if isinstance(x, Conv | Linear) and x.act]
    hidden = spatial.cout if spatial and row.op in {"mbconv", "fused"} else 0
    macs, params, _ = layers_cost(row.layers)
    return {
        "place": row.place,
        "operator": row.op,
        "input": [row.side, row.side, row.cin],
        "kernel": spatial.kernel if spatial else None,
        "hidden": hidden or None,
        "expand": round(hidden / row.cin, 4) if hidden else None,
        "width": row.cout,
        "se": squeeze or None,
        "act": acts[0] if acts else None,
        "stride": spatial.stride if spatial else None,
        "residual": row.residual,
        "macs": macs,
        "params": params,
        "memory_bytes": row.cout * row.side_out**2 * BYTES_PER_ACTIVATION,
    }


def print_table(console: Console, arch: Arch, rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a paper's table."""
    from rich.table import Table

    table = Table(title=f"{arch.name} at {arch.resolution} pixels", title_justify="left", box=None)
    for name in (
        "input",
        "operator",
        "k",
        "exp",
        "out",
        "SE",
        "act",
        "s",
        "+",
        "MACs",
        "params",
        "KB",
        "ms",
    ):
        table.add_column(name, justify="left" if name in {"input", "operator", "act"} else "right")
    for row in rows:
        side, _, channels = row["input"]
        expand = f"{row['expand']:g}" if row["expand"] else None
        plus = "+" if row["residual"] else None
        shown = (row["kernel"], expand, row["width"], row["se"], row["act"], row["stride"], plus)
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


def thop_count(arch: Arch) -> dict[str, int]:
    """What thop counts on a throw-away copy, and the parts of it that are not MACs.

    thop 0.1.1 adds 4 per element of a norm's output and the elements that go in and out of
    every average pool to the multiply-adds of convolutions and linear layers.  The copy lives on
    torch's meta device: nothing is computed, and thop's extra buffers go with it.
    """
    import thop
    import torch

    from nas.blocks import Conv, Pool, SqueezeExcite, operators
    from nas.network import build

    with torch.device("meta"):
        net = build(arch).eval()
        image = torch.empty(1, arch.channels, arch.resolution, arch.resolution)
    total, _ = thop.profile(net, (image,), verbose=False)
    norms = pools = 0
    for layer in (layer for row in operators(arch) for layer in row.layers):
        if isinstance(layer, Conv) and layer.norm:
            norms += 4 * layer.cout * layer.side_out**2
        elif isinstance(layer, Pool | SqueezeExcite):
            pools += layer.channels * (layer.side**2 + 1)
    return {"total": int(total), "norms": norms, "pools": pools}


def explained(macs: int, thop: dict[str, int]) -> str:
    """thop's count as a sum of ours, norms and pools, and whether anything is left over."""
    left = thop["total"] - macs - thop["norms"] - thop["pools"]
    rest = "nothing left over" if left == 0 else f"{left:,} unexplained"
    return (
        f"thop      {thop['total']:,} = {macs:,} MACs + {thop['norms']:,} for norms + "
        f"{thop['pools']:,} for pools; {rest}"
    )


if __name__ == "__main__":
    main("profile", profile, ABOUT)
