"""`python -m nas.profile`: a network as its paper would print it, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.serialization import dumps
from nas.core.checks import check_bool, check_number, check_whole
from nas.core.config import make
from nas.core.files import write_text
from nas.core.run_folder import environment, folder_name, open_folder, write_json
from nas.latency.page import blocks_page
from nas.profile.table import TABLE_WIDTH, print_table, table_rows
from nas.profile.thop import count_with_thop, explain_thop
from nas.profile.timing import time_network
from search_spaces.lookup import resolve_network


def profile(settings: dict[str, Any]) -> None:
    """Print the profile that `settings` (conf/profile.yaml) asks for, and write profile.json."""
    check_bool("measure", settings["measure"])
    check_number("width", settings["width"], 0.05, 16, optional=True)
    check_whole("resolution", settings["resolution"], 1, 8192, optional=True)
    check_whole("classes", settings["classes"], 1, 1_000_000, optional=True)
    arch, _ = resolve_network(str(settings["arch"]), settings["width"])
    given = {name: settings[name] for name in ("resolution", "classes") if settings[name]}
    arch = replace(arch, **given)
    timer = make(settings["latency"])
    rows, counts = table_rows(arch), cost(arch)
    thop = count_with_thop(arch)
    folder = open_folder(Path(str(settings["results"])) / "profile" / folder_name(arch.name))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    timing = time_network(arch, timer, rows, console) if settings["measure"] else None
    print_table(console, arch, rows)
    console.print(
        f"total     {counts.macs:,} MACs · {counts.params:,} parameters · peak memory "
        f"{counts.peak_memory_bytes / 1024:,.0f} KB (16 bit, MobileNetV2's Table 3)"
    )
    console.print(explain_thop(counts.macs, thop))
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
            "arch": arch_string(arch),
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
