"""The report of a search, or of several: one page, written from what a run folder holds."""
