"""Many networks, without torch: choices, limits, bounds of costs, a space as a trellis."""
