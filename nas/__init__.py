"""Neural architecture search and compound scaling for mobile networks.

One idea: an architecture is plain data, a search space is an architecture with holes, and
everything reads one list of layers.  Imports only go down, from the roof to the ground:

    search.py  scale.py  train.py  profile.py   roof: command lines, and latency/__main__.py
    alongside.py                                what a search judges beside its trials
    plan.py  scale_plan.py  train_plan.py       what a command opens
    judging.py                                  the judge that a search names
    cli.py                                      composition of conf/, help, one-line errors
    report.py  scale_report.py                  what a search, a scaling shows and leaves
    plot.py  scores_page.py  scale_page.py      the Pareto page, of scores, of a family
    study.py  reach.py                          deciding: ask and tell; what a space can reach
    samplers/  finals.py  versus.py  members.py what to try next; train alone; against random
    fit/                                        which way of growing a network is the best one
    evaluate.py                                 Arch -> Metrics, cheap ones first
    latency/  accuracy/                         judging: one file per way to do it
    supernet/                                   one elastic network for a whole space
    weights.py  pretrained.py  export.py        published weights in; an ONNX model out
    network.py  training.py  data/              torch: modules, training, images
    scoring.py                                  how good a classifier is on images
    depthwise.py  device.py  checkpoint.py      how torch computes; what a kill leaves
    onnx_graph.py                               ONNX without torch
    results.py  figures.py  storage.py          the run folder; pages of figures; the study's file
    trellis/  family.py                         a whole space at once; one network, scaled
    gaussian_process.py  objective.py           regression; rewards
    cost.py  space.py  compound.py  pareto.py   ground, no torch: arithmetic and holes
    blocks.py  reading.py                       what an Arch means: the one list of layers; a line
    arch.py                                     Stage, Block, Arch: frozen data, YAML in and out
    errors.py  files.py  interrupts.py          one-line errors, whole files, Ctrl-C
    progress.py  agreement.py                   time left; how far two orders agree

`search_spaces/` holds content: spaces and the published networks.  `conf/` holds one group per
constructor.  Nothing below the roof imports `search_spaces` or sees a configuration.
"""
