"""How long a network takes on a device: `measure` times anything, each other file is a backend."""
