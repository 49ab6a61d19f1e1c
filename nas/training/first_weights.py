"""The weights that a training begins with: whose they are, and what pictures they expect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nas.core.errors import UserError
from nas.core.files import user_path
from nas.data.dataset import ImageData
from nas.data.dense import DenseData
from nas.network.modules import Network
from nas.network.pretrained import PRETRAINED, Pretrained, fetch_pretrained
from nas.network.weight_files import read_networks
from nas.network.weights import load_first_fitting

MAX_NAMED = 4  # other state dicts of a file


def check_no_weights(given: Mapping[str, Any]) -> None:
    """UserError where settings of weights are given to what begins without any."""
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"weights.{name}={value} needs weights=file (or pretrained): give that too"
            )


class ChannelStats(NamedTuple):
    """Mean and standard deviation of each channel, scaled to [0, 1], and where they are from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str


@dataclass(frozen=True)
class FirstWeights:
    """A file of weights; None as `path` for the published ones of `pretrained`.

    pretrained   what is known of the network's published weights, if anything.
    key          where in the file they are; None for what fits.
    """

    path: str | None
    pretrained: Pretrained | None
    key: str | None = None

    def file(self) -> str:
        """The file; published weights are looked for, and else downloaded, now."""
        if self.path is not None:
            return self.path
        assert self.pretrained
        return str(fetch_pretrained(self.pretrained.name))

    def digest(self) -> str | None:
        """Digits that tell whether a given file has changed; None for what was published."""
        if self.path is None:
            return None
        with user_path(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]

    def load_into(self, net: Network) -> tuple[str, tuple[str, ...]]:
        """Put them into `net`, in place: whose they are, and the rows that begin anew."""
        origin = path = self.file()
        if self.path is None and self.pretrained:
            accuracy = f"{self.pretrained.accuracy:g}% on ImageNet"
            origin = f"{self.pretrained.library} · {accuracy} · {path}"
        networks = read_networks(path, self.key)
        try:
            (place, *others), anew = load_first_fitting(net, networks)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if place:
            origin += f" · {place}"
        if others:
            origin += f", not {', '.join(others[:MAX_NAMED])} (weights.key= chooses)"
        return origin, anew

    def stats(self, data: ImageData | DenseData) -> ChannelStats:
        """By what images are normalised: as for the weights, where that is known, else by theirs.

        A summary beside the file comes before what was published; images of other channels get
        the mean over channels.
        """
        summary = _summary_beside(user_path(self.path)) if self.path else None
        if summary and (known := _read_stats(summary)):
            mean, std = known
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


def first_weights(name: str, path: str | None = None, key: str | None = None) -> FirstWeights:
    """The weights in the file `path`, at `key`, or else those published for the network `name`."""
    known = PRETRAINED.get(name)
    if path is None and known is None:
        raise UserError(
            f"no weights are published for {name}: give weights=file weights.path=..., or one of "
            f"{', '.join(PRETRAINED)}"
        )
    return FirstWeights(path, known, key)


def _summary_beside(path: Path) -> Path | None:
    """The summary.json of the run that left the weights; those in front/ are of the run above."""
    folder = path.parent.parent if path.parent.name == "front" else path.parent
    summary = folder / "summary.json"
    return summary if summary.is_file() else None


def _read_stats(summary: Path) -> tuple[tuple[float, ...], ...] | None:
    """The mean and std that a training left, of images scaled to [0, 1]; None in another's file."""
    try:
        known = json.loads(summary.read_text(encoding="utf-8"))
        if isinstance(known, dict) and not known.keys() & {"mean", "std"}:
            return None
        mean, std = known["mean"], known["std"]
        numbers = [*mean, *std]
        fit = len(mean) == len(std) > 0 and all(type(x) in (int, float) for x in numbers)
        if not (fit and all(0 <= x <= 1 for x in mean) and all(0 < x <= 1 for x in std)):
            raise ValueError
        return tuple(map(float, mean)), tuple(map(float, std))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise UserError(
            f"{summary} beside the weights is damaged: mean and std must be lists of as many "
            "numbers, within 0 to 1 and std above 0; mend or remove it"
        ) from None
