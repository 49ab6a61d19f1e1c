"""What a reader is warned of: a loss is said as a loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_runs import INHERITED

from nas.report.kept_run import read_run
from nas.report.verdicts import describe_gain, differences, notes, verdicts, warnings


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


@pytest.mark.parametrize(
    ("gain", "word", "said"),
    [
        (-0.03, "a loss", "The refined network is 3.0 ± 1.3 points below the winner on the test"),
        (0.02, "not told apart", "Not told apart on the test images: refined network and the win"),
        (0.03, "a gain", None),
    ],
)
def test_what_refining_lost_is_called_a_loss(gain, word, said):
    run = read_run(INHERITED)
    row = {"name": "the winner", "gain": gain, "gain_se": 0.013, "test_accuracy": 0.8}
    refined = {"id": "a1", "accuracy": 0.8, "accuracy_se": 0.01, "test_accuracy": 0.8}
    refined |= {"latency_ms": 1.0, "gains": [row | {"latency_ms": 1.0}]}
    run = replace(run, summary={**run.summary, "refined": refined})
    lines = [line for line in warnings(run) if "refined network" in line]
    assert len(lines) == bool(said)
    assert all(line.startswith(said) for line in lines)
    facts = [words for what, words in verdicts(run) if what == "refined by NetAdapt"]
    assert facts[0] == "a1 has 80.0% ± 1.0% (test 80.0%) at 1 ms"
    assert facts[1].endswith(f": {word}")


def test_random_networks_are_as_many_only_where_they_are():
    gain = {"front": 3, "search": [0.5, 1.0], "random": [0.4], "equal_after": 1, "num_random": 1}
    assert "0.400 by 1 random networks" in describe_gain(gain)
    assert "0.400 by as many random networks" in describe_gain(gain | {"num_random": 2})


def runs_of(*summaries, **more):
    """Runs of these summaries, with nothing else but `more`."""
    run = replace(read_run(INHERITED), config={}, environment={})
    return [replace(run, summary=summary, **more) for summary in summaries]


def test_runs_of_other_epochs_or_bits_do_not_compare():
    one = {"budget": "quick", "epochs": 2, "precision": "float32"}
    assert not differences(runs_of(one, dict(one)))
    assert "they differ in epochs, 2 / 20" in differences(runs_of(one, one | {"epochs": 20}))[0]
    assert "precision" in differences(runs_of(one, one | {"precision": "int8"}))[0]
    assert not differences(runs_of(one, {"budget": "quick"}))  # of an earlier version


def test_runs_of_other_images_do_not_compare():
    (one,) = runs_of({"images": [10, 4, 4]}, config={"data_fingerprint": "a"})
    assert not differences([one, *runs_of({"images": [10, 4, 4]})])
    (found,) = differences([one, replace(one, config={"data_fingerprint": "b"})])
    assert found.startswith("Accuracies of these runs do not compare")
    assert found.endswith("fingerprint of the images, a / b.")


def test_latencies_of_other_devices_or_tables_do_not_compare():
    here = {"table_of": {"cpu": "EPYC", "threads": 1}}
    (one,) = runs_of({"latency": "torch table"}, environment={"latency": here})
    assert not differences([one, one, *runs_of({"latency": "torch table"})])
    there = {"table_of": {"cpu": "Xeon", "threads": 1}}
    (found,) = differences([one, replace(one, environment={"latency": there})])
    assert found == "Latencies of these runs do not compare: they differ in cpu (EPYC / Xeon)."
    other = replace(one, summary={"latency": "litert table"})
    (found,) = differences([one, other])
    assert found.endswith("they differ in latency (torch table / litert table).")
    tables = [replace(one, environment={"latency": {"sha256": digit}}) for digit in "ab"]
    assert "sha256 (a / b)" in differences(tables)[0]
    assert "by the torch table or the litert table, and" in notes([one.summary, other.summary])[-1]
