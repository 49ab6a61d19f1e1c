"""Many networks, without torch: choices, limits, bounds of costs, a space as a trellis."""

from nas.space.choices import choices, fill, one_of, picks_of, random_picks, size
from nas.space.limits import Limits

__all__ = ["Limits", "choices", "fill", "one_of", "picks_of", "random_picks", "size"]
