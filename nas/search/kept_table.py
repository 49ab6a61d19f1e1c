"""The latency table of a study in a database goes with it to other machines.

Another one that they measured would be a little different, and so would what is proposed.
"""

from __future__ import annotations

import json
import platform
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable

from rich.console import Console

from nas.core.journal import to_plain
from nas.latency.store import LatencySource
from nas.latency.table import LatencyTable
from nas.search.storage import TrialStore

KEY = "latency_table"


def with_kept_table(
    store: TrialStore, measure: Callable[[LatencyTable | None], LatencySource], console: Console
) -> LatencySource:
    """What `measure` makes of the table that the study began with; of its first, which is kept.

    A table that was given as a file is on no other machine, and not kept.
    """
    kept = store.kept().get(KEY)
    if kept is not None:
        if kept["host"] != platform.node():
            told = f"by the study's own table, which was measured on {kept['host']}"
            console.print(f"latency   {told}")
        return measure(
            LatencyTable.from_json(json.loads(zlib.decompress(b64decode(kept["table"]))))
        )
    latency = measure(None)
    if isinstance(latency.source, LatencyTable):
        text = json.dumps(to_plain(latency.source.to_json()))
        packed = b64encode(zlib.compress(text.encode())).decode()  # MySQL has room for 64 kB
        store.keep(KEY, {"host": platform.node(), "table": packed})
    return latency
