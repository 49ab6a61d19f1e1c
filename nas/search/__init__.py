"""The search for a front of accuracy and latency.  `python -m nas.search`."""
