"""One network trained to the end and exported.  `python -m nas.train`."""
