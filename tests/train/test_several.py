"""The training command under torchrun: two processes leave what one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.serialization import dumps
from nas.core.errors import UserError
from nas.core.one_voice import one_voice
from nas.data.share import Share
from nas.network.modules import build
from nas.train.run import train
from nas.train.settings import TrainSettings

SMOOTH = Arch(
    (Stage(8, 1, 2), Stage(16, 1, 1, Block(act="swish"))),
    Stem(8, act="swish"),
    Head(16, act="swish", dropout=0.0),
    resolution=20,
    channels=1,
    classes=7,
)
FEW = ("data.train=100", "data.val=61", "data.test=51", "measure=false", "budget.precision=fp32")
MINE = ("arch=mine.yaml", *FEW)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "LOGLEVEL": "ERROR"}  # torchrun's


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(dumps(SMOOTH))


def started(*words):
    return subprocess.Popen(
        [*TORCHRUN, "-m", "nas.train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def summary_of(folder):
    summary = json.loads((folder / "summary.json").read_text())
    return {k: v for k, v in summary.items() if k not in ("seconds", "onnx_difference")}


def test_two_leave_what_one_does(tmp_path, capfd):
    """From weights whose classifier begins at a ridge regression, with norms of each batch."""
    torch.save(build(SMOOTH, seed=0).state_dict(), "seven.pt")
    words = (*MINE, "weights=file", "weights.path=seven.pt", "budget.epochs=2")
    words = (*words, "budget.norms=batch", "budget.batch_size=7", "budget.optimizer=sgd")
    with started(*words, "run=two") as two:
        alone = train(TrainSettings.of(*words, "run=one"))
        out, err = two.communicate(timeout=120)
    assert two.returncode == 0, err
    assert "nas/" not in err
    told = capfd.readouterr().out.splitlines()
    lines = [line for line in out.splitlines() if line.partition(" ")[0] != "train"]
    assert len(lines) == len(set(lines)) == len(told) + 1
    assert "processes 2, which share every batch" in lines
    assert [li for li in lines if li.startswith(("start", "accuracy"))] == [
        li for li in told if li.startswith(("start", "accuracy"))
    ]
    folders = [tmp_path / "results" / "train" / name for name in ("one", "two")]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    ours, theirs = (torch.load(f / "weights.pt", weights_only=True) for f in folders)
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-4)
    summaries = [summary_of(folder) for folder in folders]
    for split in ("val", "test"):
        assert summaries[1].pop(split) == pytest.approx(summaries[0].pop(split), rel=1e-4)
    assert summaries[0] == summaries[1]
    assert alone["name"] == summaries[0]["name"]
    environments = [json.loads((f / "environment.json").read_text()) for f in folders]
    assert [e["processes"] for e in environments] == [1, 2]
    by_class = [pd.read_csv(f / "classes.csv") for f in folders]
    pd.testing.assert_frame_equal(*by_class)


def test_ctrl_c_ends_both_and_one_goes_on(tmp_path):
    words = (*MINE, "budget.epochs=80", "budget.lr=1e-3", "data.train=200")
    checkpoint = tmp_path / "results" / "train" / "mine" / "checkpoint.pt"
    with started(*words) as two:
        deadline = time.monotonic() + 300
        while not checkpoint.exists() and two.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        two.send_signal(signal.SIGINT)
        out, err = two.communicate(timeout=300)
    assert two.returncode != 0
    assert out.count("whole epochs are kept; the same command goes on") == 1
    assert err.count("interrupted") == 1
    assert "nas/train" not in err  # torchrun's own traceback alone
    done = torch.load(checkpoint, weights_only=True)["epochs"]
    assert 0 < len(done) < 80
    summary = train(TrainSettings.of(*words))
    history = pd.read_csv(checkpoint.parent / "history.csv")
    assert history["loss"].head(len(done)).tolist() == [row["loss"] for row in done]
    assert len(history) == 80
    assert summary["test"]["num_images"] == 51


def test_a_mistake_is_told_once(tmp_path):
    with started(*MINE, "budget.lr=-3") as two:
        _, err = two.communicate(timeout=300)
    assert two.returncode != 0
    assert "python -m nas.train: budget.lr must be a number above 0, not -3\n" in err
    assert err.count("nas.train: ") == 1
    assert "nas/train" not in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("processes", "words", "message"),
    [
        (9, (), r"9 processes cannot share budget.batch_size=8: start fewer"),
        (6, ("data.test=5",), r"6 processes cannot share 5 test images: start fewer"),
    ],
)
def test_a_process_without_work_is_refused(processes, words, message, monkeypatch):
    monkeypatch.setattr("nas.train.setup.own_share", lambda: Share(0, processes))
    with pytest.raises(UserError, match=message):
        train(TrainSettings.of(*MINE, *words))


def test_only_the_first_speaks(monkeypatch, capsys):
    monkeypatch.setattr("nas.core.one_voice.PATIENCE_S", 0.01)
    for rank, words in (("0", "0"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        with one_voice():
            print(rank)
        assert capsys.readouterr().out.strip() == words
    with pytest.raises(UserError, match="such"), one_voice():
        raise UserError("no such thing")
    with pytest.raises(SystemExit) as stopped, one_voice():
        raise KeyboardInterrupt
    assert stopped.value.code == 130
