"""What `nas.train` is asked for: settings that agree, images, a network, weights to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nas.cli import make, number
from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from nas.arch import Arch
    from nas.data import ImageData
    from nas.pretrained import Pretrained

BN_MOMENTUM = 0.1  # torch's default


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
    arch, named = settings["arch"], settings["choices"]["weights"] == "pretrained"
    if arch is not None and not is_file(arch):
        _ = PUBLISHED[arch]
    elif named:
        raise UserError(
            f"weights=pretrained is for a published network, not for arch={arch}: name one "
            "(arch=mobilenet_v2), or give weights=file weights.path=..."
        )
    return settings


def is_file(arch: Any) -> bool:
    """Whether `arch=` is a file and not the name of a published network."""
    return str(arch).endswith((".yaml", ".yml", ".json"))


def source_of(settings: Mapping[str, Any]) -> Pretrained | None:
    """What is known of the published weights that are asked for."""
    if settings["choices"]["weights"] != "pretrained":
        return None
    from nas.pretrained import PRETRAINED

    name = settings["arch"]
    if name not in PRETRAINED:
        raise unknown("network with published weights", name, PRETRAINED)
    return PRETRAINED[name]


def images_for(settings: dict[str, Any], side: int | None) -> ImageData:
    """The data; pictures that may be of any size are read at `side` pixels."""
    node = settings["data"]
    if node["name"] in {"folder", "hub"} and node["resolution"] is None:
        node["resolution"] = side
    data: ImageData = make(node)
    return data


def side_of(settings: Mapping[str, Any], source: Pretrained | None) -> int | None:
    """The input's side in pixels where the settings or published weights tell it."""
    from search_spaces.published import PUBLISHED

    if settings["resolution"] or settings["choices"]["weights"] == "none":
        side: int | None = settings["resolution"]
        return side
    if source:
        return source.resolution
    arch = settings["arch"]
    return None if arch is None or is_file(arch) else PUBLISHED[arch].resolution


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


def normalisation(
    data: ImageData, source: Pretrained | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and spread of each channel by which images are normalised.

    Those that published weights were trained with, over all three colours for grey images; else
    those of the training images.
    """
    if source is None:
        return data.mean, data.std
    if data.channels == len(source.mean):
        return tuple(source.mean), tuple(source.std)
    number = len(source.mean)
    return (sum(source.mean) / number,) * data.channels, (sum(source.std) / number,) * data.channels
