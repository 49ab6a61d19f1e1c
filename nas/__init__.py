"""Neural architecture search and compound scaling for mobile networks.

One idea: an architecture is plain data, a search space is an architecture with holes, and
everything reads one list of layers.  Imports only go down, from the roof to the ground:

    search.py  profile.py                       roof: command lines
    cli.py                                      composition of conf/, help, one-line errors
    report.py                                   what a search shows and leaves
    results.py  plot.py                         the run folder, the Pareto page
    study.py  reach.py                          deciding: ask and tell; what a space can reach
    evaluate.py                                 Arch -> Metrics, cheap ones first
    latency/  accuracy/                         judging: one file per way to do it
    network.py  training.py  data/              torch: modules, training, images
    depthwise.py  device.py  onnx_graph.py      how torch computes; ONNX without torch
    cost.py  space.py  compound.py  pareto.py   ground, no torch: arithmetic and holes
    blocks.py                                   what an Arch means: the one list of layers
    arch.py                                     Stage, Block, Arch: frozen data, YAML in and out
    errors.py  files.py                         UserError; files that are whole or not there

`search_spaces/` holds content: spaces and the published networks.  `conf/` holds one group per
constructor.  Nothing below the roof imports `search_spaces` or sees a configuration.
"""
