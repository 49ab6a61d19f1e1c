"""Which network to try next, and which training to stop."""
