"""How long a network takes on a device, and how wrong that is.  `python -m nas.latency`."""
