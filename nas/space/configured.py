"""The space that the configuration names, for the images at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas.arch.arch import Arch, ImageSpec
from nas.arch.scaling import for_resolution
from nas.core.errors import UserError
from nas.space.choices import choices

SMALL_BELOW = 96  # pixels, the smallest input that MobileNetV1 and V2 were published with;
SMALL_WIDTH = 0.25  # on smaller ones as thin as the thinnest of them, MobileNetV1's


def width_of(
    name: str, arguments: Mapping[str, object], given: float | None, resolution: int
) -> float:
    """The width multiplier of a space made with `arguments`, for images of so many pixels a side.

    1 where it takes none; UserError where one was given to such a space.
    """
    if "width" not in arguments:
        if given not in (None, 1):
            raise UserError(f"space={name} has its own widths: leave width={given:g} out")
        return 1.0
    if (own := arguments["width"]) is not None:
        if given not in (None, own):
            raise UserError(f"width={given:g} and space.width={own} differ: give one of them")
        return float(str(own))
    return given or (SMALL_WIDTH if resolution < SMALL_BELOW else 1.0)


def configured_space(make: Callable[..., Arch], name: str, images: ImageSpec) -> Arch:
    """The space that `make` makes of channels and classes, for such images."""
    space = make(channels=images.channels, classes=images.classes)
    if not choices(space):
        raise UserError(f"space={name} has no choice left: widen its ranges")
    return for_resolution(space, images.resolution)
