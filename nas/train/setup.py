"""What `nas.train` is asked for: settings that agree, images, a network, weights to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.arch.arch import Arch
from nas.arch.scaling import for_resolution
from nas.arch.serialization import is_file, load
from nas.core.config import make
from nas.core.errors import UserError, unknown
from nas.data.dataset import ImageData
from nas.network.pretrained import PRETRAINED, Pretrained
from nas.training.loop import Budget
from search_spaces.lookup import PUBLISHED, plain_name, resolve_baseline

BN_MOMENTUM = 0.1  # torch's default
# Of few images a batch is a sixteenth, but not under 8, so that an epoch has steps and a norm
# has something to count.
BATCHES, LEAST_BATCH = 16, 8
Colours = tuple[tuple[float, ...], tuple[float, ...]]  # mean and spread of each channel


def source_of(settings: Mapping[str, Any]) -> Pretrained | None:
    """What is known of the published weights that are asked for, or that the network has."""
    choice, arch = settings["choices"]["weights"], settings["arch"]
    name = None if arch is None or is_file(arch) else plain_name(arch)
    if choice == "pretrained" and name not in PRETRAINED:
        raise unknown("network with published weights", arch, PRETRAINED)
    return None if choice == "none" or name is None else PRETRAINED.get(name)


def side_of(settings: Mapping[str, Any], source: Pretrained | None) -> int | None:
    """The input's side in pixels where settings, published weights or a file tell it.

    For data of pictures that may be of any size their own setting tells it too.
    """
    arch, data = settings["arch"], settings["data"]
    if settings["resolution"] or (_any_size(data) and data["resolution"]):
        side: int | None = settings["resolution"] or data["resolution"]
        return side
    if arch is not None and is_file(arch):
        return load(arch).resolution
    if arch is None or settings["choices"]["weights"] == "none":
        return None
    own = PUBLISHED[arch].resolution
    return source.resolution if source and own == PUBLISHED[plain_name(arch)].resolution else own


def _any_size(data: Mapping[str, Any]) -> bool:
    return data["name"] in {"folder", "hub"}


def images_for(settings: dict[str, Any], side: int | None) -> ImageData:
    """The data; pictures that may be of any size are read at `side` pixels."""
    node = settings["data"]
    if _any_size(node) and node["resolution"] is None:
        node["resolution"] = side
    data: ImageData = make(node)
    return data


def network_for(settings: Mapping[str, Any], side: int | None, data: ImageData) -> tuple[Arch, str]:
    """The network for these images, and where it is from.

    From scratch a published network is sized for the data as everywhere else; with weights it
    stays what they were trained in, norms and padding included, at `side` pixels.  Only the
    momentum of its norms is torch's own: those of 0.01 and below, for millions of steps, would
    leave a short training's networks with the statistics of other images.
    """
    named = settings["arch"]
    if settings["choices"]["weights"] == "none" or named is None or is_file(named):
        return resolve_baseline(
            named, settings["results"], lambda: data.spec, trained=True,
            resolution=settings["resolution"],
        )  # fmt: skip
    arch = for_resolution(PUBLISHED[named], side or data.resolution)
    arch = replace(arch, channels=data.channels, classes=data.num_classes)
    return replace(arch, bn_momentum=BN_MOMENTUM), "published"


def budget_for(budget: Budget, images: int) -> Budget:
    """The budget with a batch that leaves BATCHES steps an epoch, if need be.

    The learning rate of sgd belongs to a batch size and goes with it (Goyal et al. 2017).
    """
    if budget.batch_size < 2:
        raise UserError("budget.batch_size=1 gives norms nothing to count: give 2 or more")
    size = min(budget.batch_size, max(LEAST_BATCH, images // BATCHES))
    share = size / budget.batch_size if budget.optimizer == "sgd" else 1.0
    return replace(budget, batch_size=size, lr=budget.lr * share)


def normalisation(
    settings: Mapping[str, Any], data: ImageData, source: Pretrained | None
) -> tuple[Colours, str]:
    """Mean and spread of each channel by which images are normalised, and whose they are.

    Those that the weights were trained with where that is known: from the summary of the run that
    they are of, or as published; for images of other channels the mean over those.  Else those of
    the training images.
    """
    own, choice = (data.mean, data.std), settings["choices"]["weights"]
    if choice == "none":
        return own, "the training images'"
    summary = Path(str(settings["weights"]["path"])).expanduser().parent / "summary.json"
    if choice == "file" and summary.is_file():
        try:
            known = json.loads(summary.read_text(encoding="utf-8"))
            mean, std = (tuple(map(float, known[key])) for key in ("mean", "std"))
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{summary} beside the weights is damaged: remove it") from None
        whose = f"as {summary} says"
    elif source:
        mean, std, whose = source.mean, source.std, f"as for the weights of {source.library}"
    else:
        return own, "the training images', since nobody tells those of the weights"
    if data.channels != len(mean):
        mean, std = ((sum(c) / len(c),) * data.channels for c in (mean, std))
    return (mean, std), whose
