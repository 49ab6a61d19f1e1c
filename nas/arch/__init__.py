"""One network, without torch: what it is, its layers, its cost, scaling it, writing it down."""
