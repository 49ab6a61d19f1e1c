"""thop's count of a network, accounted for to the last unit."""

from __future__ import annotations

import thop
import torch

from nas.arch.arch import Arch
from nas.arch.layers import Conv, Pool, SqueezeExcite
from nas.arch.operators import operators
from nas.network.modules import build


def count_with_thop(arch: Arch) -> dict[str, int]:
    """What thop counts, and the parts of it that are not MACs.

    To the multiply-adds of convolutions and linear layers thop 0.1.1 adds 4 per element of a
    norm's output, and the elements that go in and out of every average pool.
    """
    with torch.device("meta"):  # nothing is computed
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


def explain_thop(macs: int, thop: dict[str, int]) -> str:
    """thop's count as the sum of ours, norms and pools, and what is left over."""
    left = thop["total"] - macs - thop["norms"] - thop["pools"]
    rest = "nothing left over" if left == 0 else f"{left:,} unexplained"
    return (
        f"thop      {thop['total']:,} = {macs:,} MACs + {thop['norms']:,} for norms + "
        f"{thop['pools']:,} for pools; {rest}"
    )
