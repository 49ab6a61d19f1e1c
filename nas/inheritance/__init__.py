"""Smaller networks from a trained one in closed form: no gradient, seconds a network."""
