"""A network as its paper would print it, and what it costs.  `python -m nas.profile`."""
