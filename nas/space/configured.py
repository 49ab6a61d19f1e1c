"""The space that the configuration names, for the images at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nas.arch.arch import Arch, ImageSpec
from nas.arch.scaling import for_resolution
from nas.core.errors import UserError
from nas.space.choices import choices

SMALL_BELOW = 96  # pixels, the smallest input that MobileNetV1 and V2 were published with;
SMALL_WIDTH = 0.25  # on smaller ones as thin as the thinnest of them, MobileNetV1's


def space_for(settings: dict[str, Any], make: Callable[..., Arch], images: ImageSpec) -> Arch:
    """The configured space for such images, at the width that suits their side in pixels.

    `make` calls what the node settings["space"] names; settings["width"] is filled in.
    """
    if settings["width"] is None:
        settings["width"] = SMALL_WIDTH if images.resolution < SMALL_BELOW else 1.0
    node = settings["space"]
    if node.get("width", 1) is None:
        node["width"] = settings["width"]
    space = make(node, channels=images.channels, classes=images.classes)
    if not choices(space):
        name = settings["choices"]["space"]
        raise UserError(f"space={name} has no choice left: widen its ranges")
    return for_resolution(space, images.resolution)
