"""The space that the configuration names, for the images at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nas.arch.arch import Arch, ImageSpec
from nas.arch.scaling import for_resolution
from nas.core.errors import UserError
from nas.space.choices import OneOf, choices

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
    _check_fixed(space, name)
    return for_resolution(space, images.resolution)


def _check_fixed(space: Arch, name: str) -> None:
    """Refuse a choice of what `for_resolution` fits to the images."""
    whole: Any = space.stages
    fixed: dict[str, Any] = {"resolution": space.resolution, "stem": space.stem, "stages": whole}
    fixed |= {} if isinstance(whole, OneOf) else {f"stages.{i}": s for i, s in enumerate(whole)}
    strided = {key: part for key, part in fixed.items() if hasattr(part, "stride")}
    fixed |= {f"{key}.stride": part.stride for key, part in strided.items()}
    for key, value in fixed.items():
        if isinstance(value, OneOf):
            raise UserError(
                f"space={name}: {key} cannot be chosen, since the images decide the sides: give "
                "one value; free are width, depth and blocks of a stage, width, kernel and act of "
                "the stem, and the head"
            )
