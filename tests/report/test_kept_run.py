"""A run folder as it is read back: equal to what was written, and one line where it cannot be."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from report_runs import KEPT, OLD_RUN, SEARCH, write_run
from spaces import SPACES

from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.arch.serialization import load
from nas.core.errors import UserError
from nas.report.frames import read_frame, trial_frame
from nas.report.kept_run import read_run, read_runs
from nas.report.notation import arch_of
from nas.space.choices import fill, random_picks
from search_spaces.lookup import PUBLISHED


def test_a_table_is_read_as_it_was_written(tmp_path):
    rows = [row | {"pick.depth": 2 + i % 2, "pick.act": "relu"} for i, row in enumerate(SEARCH[:4])]
    rows[0] |= {"id": "123456789012", "number": None}
    rows[1] |= {"id": "1e5", "name": "mnasnet_b1", "accuracy": float("nan")}
    frame = trial_frame(rows)
    frame.to_csv(tmp_path / "trials.csv", index=False)
    again = read_frame(tmp_path / "trials.csv")
    for name in ("id", "name", "accuracy", "latency_ms", "macs", "state", "number", "pick.depth"):
        pd.testing.assert_series_equal(again[name], frame[name], check_exact=True)
    assert again["fidelity"].tolist() == [""] * 4
    assert read_frame(tmp_path / "absent.csv").empty


@pytest.mark.parametrize("space", SPACES)
def test_networks_are_told_by_their_notation_or_not_at_all(space, rng):
    like = [fill(SPACES[space], random_picks(SPACES[space], rng))]
    known = 0
    for _ in range(20):
        arch = fill(SPACES[space], random_picks(SPACES[space], rng))
        found = arch_of(arch_string(arch), network_id(arch), like)
        assert found is None or network_id(found) == network_id(arch)
        known += found is not None
    assert known >= 18
    assert arch_of(arch_string(like[0]), "0123456789ab", like) is None
    for text in ("", "r28 stem", "a | b", "r28 stem_k3_s2_c8_relu | nothing_k3_s1_c8_d1"):
        assert arch_of(text, "0123456789ab", like) is None


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v3_small", "mobilenet_v4_conv_small"])
def test_published_networks_are_told_too(name):
    arch = PUBLISHED[name]
    like = [load(KEPT / "winner.yaml")]
    other = arch_of(arch_string(arch), network_id(arch), like)
    assert other is None, "other classes and channels than the run's"
    found = arch_of(arch_string(arch), network_id(arch), [arch])
    assert found is not None
    assert network_id(found) == network_id(arch)


def test_what_is_missing_or_damaged_is_one_line(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        read_run(tmp_path / "absent")
    with pytest.raises(UserError, match=r"holds no trials\.csv: .*Ctrl-C"):
        read_run(tmp_path)
    folder = write_run(tmp_path / "run", SEARCH)
    (folder / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary\.json is damaged"):
        read_run(folder)
    (folder / "summary.json").write_text(json.dumps([]))
    assert read_run(folder).summary == {}
    (folder / "trials.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"trials\.csv is no table of networks"):
        read_run(folder)


def test_files_of_another_network_are_not_believed(tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert list(run.files.values()) == ["front/01.yaml", "front/02.yaml"]
    (tmp_path / "run" / "front" / "01.yaml").write_text((KEPT / "winner.yaml").read_text())
    again = read_run(tmp_path / "run")
    assert list(again.files.values()) == ["front/02.yaml"]
    first = again.trained.set_index("id").loc[next(iter(run.files))]
    assert network_id(again.arch(first.name, first["arch"])) == first.name


def test_runs_of_one_name_are_called_by_their_folders(tmp_path):
    folders = [write_run(tmp_path / device / "mbconv", SEARCH) for device in ("phone", "laptop")]
    assert [run.label for run in read_runs([*folders[:1], KEPT])] == ["mbconv", "search"]
    assert [run.label for run in read_runs(folders)] == [str(folder) for folder in folders]


def test_the_accuracy_of_a_scored_run_is_its_trainings(tmp_path):
    run = read_run(KEPT)
    assert len(run.trained) == 32
    assert len(run.judged) == 300
    assert set(run.evaluated["state"]) == {"complete", "infeasible"}
    assert np.isfinite(run.trained["accuracy"]).all()


def test_scores_of_shared_weights_are_no_trainings(tmp_path):
    """An interrupted search by a supernet, whose trials have its accuracies."""
    run = read_run(write_run(tmp_path / "oneshot", SEARCH, trained=0))
    assert len(run.trained) == 0
    assert len(read_run(write_run(tmp_path / "scratch", SEARCH)).trained) == 4
