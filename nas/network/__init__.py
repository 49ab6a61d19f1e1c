"""A network that runs: torch modules, ONNX graphs, published weights, export."""
