"""The space that the configuration names, for the images at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from nas.arch.arch import Arch, ImageSpec
from nas.arch.scaling import for_resolution
from nas.core.errors import UserError
from nas.space.choices import choices

SMALL_BELOW = 96  # pixels, the smallest input that MobileNetV1 and V2 were published with;
SMALL_WIDTH = 0.25  # on smaller ones as thin as the thinnest of them, MobileNetV1's


class SpaceOption(Protocol):
    """What is needed here of a `nas.core.config.Component`."""

    @property
    def name(self) -> str:
        """As in `space=...`."""

    @property
    def node(self) -> Mapping[str, Any]:
        """The arguments of its YAML."""

    def make(self, **more: Any) -> Any:
        """Call its function with these arguments, and `more` in the place of some."""


def default_width(resolution: int) -> float:
    """The width multiplier for images of so many pixels a side."""
    return SMALL_WIDTH if resolution < SMALL_BELOW else 1.0


def configured_space(option: SpaceOption, images: ImageSpec, width: float) -> Arch:
    """The space that `option` makes for such images; `width` where its YAML leaves it open."""
    open_width = {"width": width} if option.node.get("width", 1) is None else {}
    space = option.make(channels=images.channels, classes=images.classes, **open_width)
    return _with_choices(space, option.name, images.resolution)


def _with_choices(space: Arch, name: str, resolution: int) -> Arch:
    if not choices(space):
        raise UserError(f"space={name} has no choice left: widen its ranges")
    return for_resolution(space, resolution)


def space_for(settings: dict[str, Any], make: Callable[..., Arch], images: ImageSpec) -> Arch:
    """As `configured_space`, from a dict of settings, in which the width is filled in."""
    if settings["width"] is None:
        settings["width"] = default_width(images.resolution)
    node = settings["space"]
    if node.get("width", 1) is None:
        node["width"] = settings["width"]
    space = make(node, channels=images.channels, classes=images.classes)
    return _with_choices(space, settings["choices"]["space"], images.resolution)
