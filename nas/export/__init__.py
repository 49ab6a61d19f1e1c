"""`python -m nas.export`: a trained network as the files that phones run, each checked."""
