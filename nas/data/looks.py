"""What follows from the sizes and values of all pictures of a data set, before they are used."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.core.errors import UserError, one_line
from nas.data.decoding import EIGHT_BITS, FAR, ValueRange

log = logging.getLogger(__name__)

Looks = npt.NDArray[np.float64]  # (N, 6), a row for each picture as in Look
Flags = npt.NDArray[np.bool_]

DEFAULT_SIDE = 224  # pixels; the resolution of ImageNet networks since AlexNet
MARGIN = 0.1  # of the range of values: what lies outside by so much is told
MAX_SAMPLED = 100  # pictures whose size is looked at to find out a data set's own size
RARE = 0.05  # share of the pictures whose values may be far from those of the others


def native_side(looks: Looks) -> int:
    """Pixels to decode to when none are given.

    The side of the pictures where those looked at (up to MAX_SAMPLED) are squares of one size up
    to DEFAULT_SIDE, else DEFAULT_SIDE.
    """
    sampled = np.linspace(0, len(looks) - 1, min(MAX_SAMPLED, len(looks)), dtype=int)
    sizes = {(w, h) for w, h in looks[sampled, :2].tolist() if w == w}
    width, height = sizes.pop() if len(sizes) == 1 else (DEFAULT_SIDE, DEFAULT_SIDE)
    return int(width) if width == height <= DEFAULT_SIDE else DEFAULT_SIDE


def range_in_use(looks: Looks, training: Flags) -> ValueRange:
    """The lowest and highest value of the training pictures of over 8 bits, else of the others.

    A few pictures whose values are far from those of all the others do not count.
    """
    for values in (looks[training, 2:4], looks[:, 2:4]):
        if (known := values[values[:, 0] == values[:, 0]]).size:
            lows, highs = known.T
            if len(known) > 2:
                usual_low = np.percentile(lows, 100 * RARE, method="higher")
                usual_high = np.percentile(highs, 100 * (1 - RARE), method="lower")
                far = FAR * (usual_high - usual_low)
                lows, highs = lows[lows >= usual_low - far], highs[highs <= usual_high + far]
            return float(lows.min()), float(highs.max())
    return EIGHT_BITS


def check_values(looks: Looks, names: Sequence[str], what: str, limits: ValueRange) -> None:
    """UserError where pictures of 8 bits and of more are mixed; tell what is clipped or cut."""
    deep = np.flatnonzero(~np.isnan(looks[:, 2]))
    flat = np.flatnonzero(~np.isnan(looks[:, 0]) & np.isnan(looks[:, 2]))
    if deep.size and flat.size:
        raise UserError(
            f"{len(flat)} images of {what} have 8 bits a value ({names[flat[0]]}) and {len(deep)} "
            f"have more ({names[deep[0]]}), so that no scale is right for both: save all of them "
            "in one kind, or take the others out"
        )
    margin = MARGIN * (limits[1] - limits[0])
    outside = (looks[:, 5] == 1) | (looks[:, 2] < limits[0] - margin)
    if (outside := outside | (looks[:, 3] > limits[1] + margin)).any():
        found = f"{outside.sum()} images of {what} have values far from those of the others, the "
        found += f"first is {names[outside.argmax()]}: {limits[0]:g} to {limits[1]:g} become 0 to "
        log.warning("%s", one_line(f"{found}255, and what lies outside is clipped"))
    if cut := int((looks[:, 4] == 1).sum()):
        found = f"{cut} images of {what} have 16 bits a colour; the upper 8 of them are read"
        log.warning("%s", one_line(found))
