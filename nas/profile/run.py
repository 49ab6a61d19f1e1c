"""A network as its paper would print it, and what it costs; or several side by side."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.serialization import dumps
from nas.core.files import write_text
from nas.core.progress import open_console
from nas.core.run_folder import environment, folder_name, open_folder, write_json
from nas.latency.page import blocks_page
from nas.latency.timing import Backend
from nas.profile.comparison import compare
from nas.profile.settings import ProfileSettings
from nas.profile.table import TABLE_WIDTH, print_table, table_rows
from nas.profile.thop import count_with_thop, explain_thop
from nas.profile.timing import time_network
from search_spaces.lookup import resolve_network


def profile(settings: ProfileSettings) -> dict[str, Any]:
    """Print the profile of a network, write it, and return what profile.json holds.

    Several networks, `arch=a,b,c`, are compared.
    """
    networks = {name: _network(settings, name) for name in settings.names}
    if len(networks) > 1:
        return compare(settings, networks)
    (arch,) = networks.values()
    return _profile(settings, arch)


def _network(settings: ProfileSettings, name: str) -> Arch:
    arch, _ = resolve_network(name, settings.width)
    resolution, classes = settings.resolution or arch.resolution, settings.classes or arch.classes
    return replace(arch, resolution=resolution, classes=classes)


def _profile(settings: ProfileSettings, arch: Arch) -> dict[str, Any]:
    timer: Backend = settings.latency.make()
    rows, counts, thop = table_rows(arch), cost(arch), count_with_thop(arch)
    folder = open_folder(Path(str(settings.results)) / "profile" / folder_name(arch.name))
    console = open_console(TABLE_WIDTH)
    timing = time_network(arch, timer, rows, console) if settings.measure else None
    (folder / "profile.html").unlink(missing_ok=True)  # an earlier call's
    if timing:
        isolated = sum(row["alone_ms"] for row in rows)
        lead = f"{timing.median_ms:.4g} ms as a whole, {isolated:.4g} ms as the sum of its rows."
        title = f"{arch.name} at {arch.resolution} pixels, {timer.name}"
        blocks_page(folder / "profile.html", title, [lead], rows)
    summary = {
        "arch": arch_string(arch),
        "name": arch.name,
        "resolution": arch.resolution,
        **asdict(counts),
        "thop": thop,
        "latency_ms": timing.median_ms if timing else None,
        "latency_iqr_ms": timing.iqr_ms if timing else None,
        "rows": rows,
    }
    write_json(folder / "profile.json", summary)
    write_json(folder / "environment.json", environment(latency=timer.describe()))
    write_text(folder / "arch.yaml", dumps(arch))
    print_table(console, arch, rows)
    console.print(
        f"total     {counts.macs:,} MACs · {counts.params:,} parameters · peak memory "
        f"{counts.peak_memory_bytes / 1024:,.0f} KB (16 bit, MobileNetV2's Table 3)"
    )
    console.print(explain_thop(counts.macs, thop))
    if timing:
        console.print(
            f"latency   {timing.median_ms:.4g} ms median · IQR {timing.iqr_ms:.2g} ms · "
            f"{timing.runs} runs · {timer.name} · its rows alone {isolated:.4g} ms in all"
        )
    page = "profile.html " if timing else ""
    console.print(f"wrote     {folder}/: {page}profile.json arch.yaml environment.json")
    return summary
