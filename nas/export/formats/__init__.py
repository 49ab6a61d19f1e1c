"""The runtimes' own files: how each is written and opened."""
