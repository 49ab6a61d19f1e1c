"""Neural architecture search and compound scaling for mobile networks.

One idea: an architecture is plain data, a search space is an architecture with holes, and
everything reads one list of layers.  A package a command stands on a few shared ones; imports go
down: core | arch stats | data space network | training search_spaces | latency supernet
inheritance tasks | accuracy profile train | report | search scale ablate export |
rediscover.
"""

import os

# ONNX Runtime would keep an identifier in the user's home, or warn that it cannot, and report
# its use to Microsoft; nobody asked for that, and it runs beside what is timed.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
