"""Compound scaling: a rule fitted or given, a family grown by it.  `python -m nas.scale`."""
