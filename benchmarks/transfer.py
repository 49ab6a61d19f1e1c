"""What published weights reach on a thousand pictures: `nas.train weights=pretrained`, repeated.

    python benchmarks/transfer.py data.root=FOLDER     writes results/benchmarks/transfer.csv

A row for each input size and seed, of the code as it is: accuracy on the test images with its
standard error, multiply-adds, and seconds of one core for training and scoring.  Settings of
nas.train may be given before the options.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from nas.core.files import write_text
from nas.core.run_folder import environment
from nas.train.run import train
from nas.train.settings import TrainSettings

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "transfer.csv"
WORDS = (
    *("arch=tf_efficientnet_lite0", "weights=pretrained", "data=cifar10", "measure=false"),
    *("data.train=1000", "data.val=500", "data.test=2000"),
)


def row(resolution: int, seed: int, words: list[str]) -> dict[str, Any]:
    """Train once, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        own = (f"results={folder}", f"resolution={resolution}", f"seed={seed}")
        started = time.process_time()
        summary = train(TrainSettings.of(*WORDS, *words, *own))
        seconds = time.process_time() - started
    return {
        "commit": environment()["commit"],
        "settings": " ".join(word for word in words if not word.startswith("data.root=")),
        "resolution": resolution,
        "seed": seed,
        "accuracy": round(summary["test"]["accuracy"], 5),
        "accuracy_se": round(summary["test"]["accuracy_se"], 5),
        "macs": summary["macs"],
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Train, write the file after each training, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 96])
    args, words = parser.parse_known_args()
    torch.set_num_threads(1)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in args.seeds:
        for resolution in args.resolutions:
            rows.append(row(resolution, seed, words))
            write_text(RESULT, pd.DataFrame(rows).to_csv(index=False))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    print(table.groupby("resolution")["accuracy"].mean().to_string())


if __name__ == "__main__":
    main()
