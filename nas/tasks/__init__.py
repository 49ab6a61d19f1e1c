"""What a network is trained for: boxes or masks, as heads, losses, metrics and pictures."""
