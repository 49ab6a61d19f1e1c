"""Neural architecture search and compound scaling for mobile networks.

One idea: an architecture is plain data, a search space is an architecture with holes, and
everything reads one list of layers.  A package a command stands on a few shared ones; imports go
down: core | arch stats | data space network | training search_spaces | latency supernet
inheritance | accuracy profile train | search scale.
"""
