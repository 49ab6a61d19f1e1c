"""By NumPy and SciPy: correlation, Gaussian process, Pareto front, rewards, permutation tests."""
