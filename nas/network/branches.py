"""Modules without weights: what splits, joins, merges and resizes maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nas.arch.layers import Merge, PerAnchor, Resize, Split


class SplitChannels(nn.Module):
    """The channels of a row's input that the branch of one `Split` layer reads."""

    def __init__(self, layer: Split) -> None:
        super().__init__()
        self.first, self.channels = layer.first, layer.cout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, cin, H, W) -> (N, cout, H, W), a view."""
        return x.narrow(1, self.first, self.channels)


class ConcatChannels(nn.Module):
    """Branches side by side, or tables of `Join` along their axis."""

    def __init__(self, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *branches: torch.Tensor) -> torch.Tensor:
        """(N, C1, H, W), (N, C2, H, W), ... -> (N, C1 + C2 + ..., H, W), for axis 1."""
        return torch.cat(branches, self.axis)


class MergeBranches(nn.Module):
    """All branches added, or the one before multiplied by this one."""

    def __init__(self, layer: Merge) -> None:
        super().__init__()
        self.op = layer.op

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) and (N, C, H, W) or (N, C, 1, 1) -> (N, C, H, W)."""
        return left + right if self.op == "add" else left * right


class ResizeBilinear(nn.Module):
    """A map brought to `side_out` pixels a side."""

    def __init__(self, layer: Resize) -> None:
        super().__init__()
        self.side = layer.side_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, side_out, side_out)."""
        if x.shape[-1] == 1:  # the same, and torch's own gradient of it is slow
            return x.expand(-1, -1, self.side, self.side)
        return F.interpolate(x, (self.side, self.side), mode="bilinear")


class TablePerAnchor(nn.Module):
    """A map of one `PerAnchor` layer as a table."""

    def __init__(self, layer: PerAnchor) -> None:
        super().__init__()
        self.numbers = layer.numbers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, anchors * numbers, H, W) -> (N, H * W * anchors, numbers)."""
        return x.permute(0, 2, 3, 1).reshape(len(x), -1, self.numbers)
