"""What a latency table knows a block by."""

from __future__ import annotations

from typing import Any

from nas.arch.layers import Conv, Operator, SqueezeExcite
from nas.latency.csv_table import PLACES


def signature(row: Operator) -> dict[str, Any]:
    """The cells of a row: all of COLUMNS but ms, device and resolution."""
    convs = [layer for layer in row.layers if isinstance(layer, Conv)]
    spatial = max(convs, key=lambda conv: (conv.kernel, conv.stride), default=None)
    excite = next((layer for layer in row.layers if isinstance(layer, SqueezeExcite)), None)
    act = next((a for layer in row.layers if (a := getattr(layer, "act", ""))), "none")
    return {
        "op": row.place if row.place in PLACES else row.op,
        "in_hw": row.side,
        "in_c": row.cin,
        "out_hw": row.side_out,
        "out_c": row.cout,
        "kernel": spatial.kernel if spatial else 0,
        "stride": spatial.stride if spatial else 0,
        "hidden": convs[-1].cin if len(convs) > 1 else 0,
        "squeeze": excite.squeeze if excite else 0,
        "se": int(excite is not None),
        "act": act,
        "hs": int(act == "hswish"),
        "se_act": excite.act if excite else "none",
        "se_gate": excite.gate if excite else "none",
        "residual": int(row.residual),
        "linear": int(row.layers[-1] in convs and not convs[-1].act),
    }


def row_form(row: Operator) -> str:
    """For people: place, op, kernel, stride, channels, input side (r), SE, activation.

    Such as `stage2_block1 mbconv_k5_s2_c24-96-40_r28_se24_hswish`.
    """
    known = signature(row)
    shape = f"_k{known['kernel']}_s{known['stride']}" if known["kernel"] else ""
    channels = "-".join(str(known[c]) for c in ("in_c", "hidden", "out_c") if known[c])
    excite = f"_se{known['squeeze']}" if known["se"] else ""
    act = f"_{known['act']}" if known["act"] != "none" else ""
    return f"{row.place} {known['op']}{shape}_c{channels}_r{row.side}{excite}{act}"
