"""What a reader is warned of: a loss is said as a loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_runs import INHERITED

from nas.report.kept_run import read_run
from nas.report.verdicts import warnings


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (-0.029, "The winner is 2.9 ± 1.3 points below equal ratios on the test images."),
        (-0.02, "Not told apart on the test images: winner and equal ratios."),
        (0.02, "Not told apart on the test images: winner and equal ratios."),
        (0.03, None),
    ],
)
def test_a_loss_a_tie_and_a_gain_are_three_things(gain, said):
    run = read_run(INHERITED)
    row = {"name": "equal ratios", "gain": gain, "gain_se": 0.013}
    lines = warnings(replace(run, summary={**run.summary, "compared": [row]}))
    assert [line for line in lines if "equal ratios" in line] == ([said] if said else [])
