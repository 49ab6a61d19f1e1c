"""What each idea of a network is worth, on given data and device.  `python -m nas.ablate`."""
