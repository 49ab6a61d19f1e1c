"""The weights that a training begins with: whose they are, and what pictures they expect."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nas.core.errors import UserError
from nas.core.files import user_path
from nas.data.dataset import ImageData
from nas.network.modules import Network
from nas.network.pretrained import PRETRAINED, Pretrained, fetch_pretrained
from nas.network.weights import load_weights, read_weights


class ChannelStats(NamedTuple):
    """Mean and standard deviation of each channel, scaled to [0, 1], and where they are from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str


@dataclass(frozen=True)
class FirstWeights:
    """A file of weights; None as `path` for the published ones of `pretrained`.

    pretrained   what is known of the network's published weights, if anything.
    """

    path: str | None
    pretrained: Pretrained | None

    def file(self) -> str:
        """The file; published weights are looked for, and else downloaded, now."""
        if self.path is not None:
            return self.path
        assert self.pretrained
        return str(fetch_pretrained(self.pretrained.name))

    def load_into(self, net: Network) -> tuple[str, tuple[str, ...]]:
        """Put them into `net`, in place: whose they are, and the rows that begin anew."""
        origin = path = self.file()
        if self.path is None and self.pretrained:
            accuracy = f"{self.pretrained.accuracy:g}% on ImageNet"
            origin = f"{self.pretrained.library} · {accuracy} · {path}"
        return origin, load_weights(net, read_weights(path))

    def stats(self, data: ImageData) -> ChannelStats:
        """By what images are normalised: as for the weights, where that is known, else by theirs.

        A summary beside the file comes before what was published; images of other channels get
        the mean over channels.
        """
        summary = user_path(self.path).parent / "summary.json" if self.path else None
        if summary and summary.is_file():
            mean, std = _read_stats(summary)
            origin = f"as {summary} says"
        elif self.pretrained:
            mean, std = self.pretrained.mean, self.pretrained.std
            origin = f"as for the weights of {self.pretrained.library}"
        else:
            origin = "the training images', since nobody tells those of the weights"
            return ChannelStats(data.mean, data.std, origin)
        if data.channels != len(mean):
            mean, std = ((sum(c) / len(c),) * data.channels for c in (mean, std))
        return ChannelStats(mean, std, origin)


def first_weights(name: str, path: str | None = None) -> FirstWeights:
    """The weights in the file `path`, or else those published for the network `name`."""
    known = PRETRAINED.get(name)
    if path is None and known is None:
        raise UserError(
            f"no weights are published for {name}: give weights=file weights.path=..., or one of "
            f"{', '.join(PRETRAINED)}"
        )
    return FirstWeights(path, known)


def _read_stats(summary: Path) -> tuple[tuple[float, ...], ...]:
    try:
        known = json.loads(summary.read_text(encoding="utf-8"))
        return tuple(tuple(map(float, known[key])) for key in ("mean", "std"))
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{summary} beside the weights is damaged: remove it") from None
