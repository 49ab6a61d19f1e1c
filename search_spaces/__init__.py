"""Content, not machinery: search spaces and the published networks, as data."""
