"""What `nas.train` is asked for: settings that agree, images, a network, weights to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.arch import is_file, load
from nas.cli import make, number
from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from nas.arch import Arch
    from nas.data import ImageData
    from nas.pretrained import Pretrained
    from nas.training import Budget

BN_MOMENTUM = 0.1  # torch's default
# Of few images a batch is a sixteenth, but not under 8, so that an epoch has steps and a norm
# has something to count.
BATCHES, LEAST_BATCH = 16, 8
Colours = tuple[tuple[float, ...], tuple[float, ...]]  # mean and spread of each channel


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range and what contradicts refused."""
    from nas.device import resolve_device
    from search_spaces.published import PUBLISHED

    settings["resolution"] = number(settings, "resolution", 1, 8192, whole=True)
    if (seed := number(settings, "seed", 0, 2**31, whole=True)) is None:
        raise UserError("seed must be a whole number from 0, not null")
    settings["seed"] = seed
    if not isinstance(settings["measure"], bool):
        raise UserError(f"measure must be true or false, not {settings['measure']!r}")
    resolve_device(settings["device"])
    arch, choice = settings["arch"], settings["choices"]["weights"]
    if arch is not None and not is_file(arch):
        _ = PUBLISHED[arch]
    elif choice == "pretrained":
        raise UserError(
            f"weights=pretrained is for a published network, not for arch={arch}: name one "
            "(arch=mobilenet_v2), or give weights=file weights.path=..."
        )
    path = settings["weights"]["path"]
    if path is not None and choice == "none":
        raise UserError(f"weights.path={path} needs weights=file (or pretrained): give that too")
    there = isinstance(path, str) and Path(path).expanduser().is_file()
    if (choice == "file" or path is not None) and not there:
        raise UserError(f"weights.path={path} is no file: give a .pth, .pt or .safetensors")
    return settings


def source_of(settings: Mapping[str, Any]) -> Pretrained | None:
    """What is known of the published weights that are asked for, or that the network has."""
    from nas.pretrained import PRETRAINED
    from search_spaces.published import plain_name

    choice, arch = settings["choices"]["weights"], settings["arch"]
    name = None if arch is None or is_file(arch) else plain_name(arch)
    if choice == "pretrained" and name not in PRETRAINED:
        raise unknown("network with published weights", arch, PRETRAINED)
    return None if choice == "none" or name is None else PRETRAINED.get(name)


def side_of(settings: Mapping[str, Any], source: Pretrained | None) -> int | None:
    """The input's side in pixels where settings, published weights or a file tell it.

    For data of pictures that may be of any size their own setting tells it too.
    """
    from search_spaces.published import PUBLISHED, plain_name

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
    from nas.compound import for_resolution
    from nas.scale_plan import baseline_of
    from search_spaces.published import PUBLISHED

    named = settings["arch"]
    if settings["choices"]["weights"] == "none" or named is None or is_file(named):
        return baseline_of(dict(settings), lambda: data, trained=True)
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
