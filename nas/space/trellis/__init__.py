"""A space as a graph: every distinct row, 100,000 networks costed at once, exact extremes."""
