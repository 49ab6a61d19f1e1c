"""Ways to time a network on a device, one a file."""
