"""NumPy only: rank correlation, Gaussian process, Pareto front and hypervolume, rewards."""
