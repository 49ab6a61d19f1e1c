"""Two processes train a supernet as one does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stripes import BUDGET, DATA, SPACE, TRAINING
from torch import Tensor
from two_processes import by_two

from nas.accuracy.judge import JudgeContext
from nas.accuracy.oneshot import OneShotSettings
from nas.core.errors import UserError
from nas.data.share import Share
from nas.data.splits import Split
from nas.space.trellis.trellis import Trellis
from nas.supernet.history import SupernetHistory
from nas.supernet.supernet import Supernet
from nas.supernet.training import SupernetBudget

# 64 images: 9 batches of 7, of which processes take 4 and 3; one alone has two threads
FEW = replace(DATA, train=Split(DATA.train.images[:64], DATA.train.labels[:64]))
SHORT = replace(BUDGET, training=replace(TRAINING, epochs=1, batch_size=7), threads=2)
TRELLIS = Trellis(SPACE)
MOST = np.median(TRELLIS.costs(TRELLIS.random(999, np.random.default_rng(0))).macs)


def allows(genomes: Any) -> Any:
    return TRELLIS.costs(genomes).macs <= MOST


def trained(budget: SupernetBudget = SHORT, **more: Any) -> tuple[dict[str, Tensor], Any]:
    """Weights, and of the history what is no time."""
    context = JudgeContext(SPACE, lambda: FEW, "cpu", seed=1, feasible=allows, **more)
    judge = OneShotSettings(budget).open(context)
    checks = [(c.step, c.loss, c.agreement) for c in judge.history.checks]
    return dict(judge.supernet.named_parameters()), (judge.history.steps, checks)


class Killed(Exception):  # noqa: N818 - what a kill looks like from inside
    pass


def killed(kept: Path) -> None:
    """Trained for five steps, which are kept."""

    def stop(done: float, left: float, history: SupernetHistory) -> None:
        if history.steps == 5:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.supernet.training.CHECK_EVERY", 2)
        patch.setattr("nas.supernet.training.SAVE_SECONDS", 0.0)
        with pytest.raises(Killed):
            trained(checkpoint=kept, progress=stop)


def both(share: Share) -> dict[str, Any]:
    """What two processes do; of threads each has one, as torchrun has it."""
    torch.set_num_threads(1)
    whole = trained()
    killed(Path("two.pt"))
    # only the first finds what one process began
    ended = trained(checkpoint=Path("none.pt" if share.rank else "one.pt"))
    return {"whole": whole, "ended": ended}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process did, and two, in a folder."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("together"))
        killed(Path("one.pt"))
        ours, theirs = by_two(both, folder)
        torch.set_num_threads(threads)
        yield trained(), ours, theirs


def assert_alike(found: dict[str, Tensor], wanted: dict[str, Tensor], **how: float) -> None:
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, **how, msg=lambda m, n=name: f"{n}: {m}")


def test_they_end_with_the_weights_of_one(done):
    (alone, (steps, checks)), ours, theirs = done
    weights, (our_steps, our_checks) = ours["whole"]
    assert_alike(weights, alone, rtol=1e-3, atol=1e-5)
    assert_alike(theirs["whole"][0], weights, rtol=0, atol=0)
    fresh = dict(Supernet(SPACE, seed=1).named_parameters())
    moved = [(w - fresh[k]).abs().max().item() for k, w in alone.items() if w.ndim > 1]
    assert np.median(moved) > 1e-3  # a hundred times as far as they may be apart
    assert steps == our_steps == theirs["whole"][1][0] == 9
    assert len(checks) == 3
    for found, wanted in zip(our_checks, checks, strict=True):
        assert found == pytest.approx(wanted, rel=1e-3, nan_ok=True)
    assert np.isfinite(checks[-1][2])  # of the probe networks, which the first alone looks at
    assert np.isnan(theirs["whole"][1][1][-1][2])


def test_any_number_goes_on_with_what_another_began(done):
    (alone, _), ours, theirs = done
    assert_alike(ours["ended"][0], alone, rtol=1e-3, atol=1e-5)
    assert_alike(theirs["ended"][0], ours["ended"][0], rtol=0, atol=0)
    weights, (steps, _) = trained(checkpoint=Path("two.pt"))
    assert_alike(weights, alone, rtol=1e-3, atol=1e-5)
    assert steps == 9


def test_a_process_without_an_image_is_refused(monkeypatch):
    monkeypatch.setattr("nas.accuracy.oneshot.own_share", lambda: Share(0, 8))
    with pytest.raises(UserError, match="8 processes cannot share batches of 7 images: start f"):
        trained()
