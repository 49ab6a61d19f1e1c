"""A network as its paper would print it, and what it costs; or several side by side.

`python -m nas.profile`.
"""
