"""A copy of the network, trained on with the rounding of 8 bits."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Mapping

import torch
from rich.console import Console

from nas.core.errors import UserError
from nas.core.files import write_bytes
from nas.core.progress import ProgressBar
from nas.export.formats.format import Image
from nas.export.setup import ExportRun
from nas.network.modules import Network
from nas.training.evaluation import TrainingFailed
from nas.training.fake_quantization import rounded
from nas.training.loop import Budget, fit_batch, train

TRAINED = "weights_qat.pt"
GROUP = 32  # calibration images that pass at once


def train_on(run: ExportRun, calibration: Image, console: Console) -> Network:
    """The trained copy, on the CPU; a killed training goes on, and weights_qat.pt is left."""
    budget: Budget = fit_batch(run.settings.budget.make(), len(run.data.train))
    net = copy.deepcopy(run.net)
    digest = digest_of(net.state_dict(), calibration, budget)
    checkpoint = run.folder / f"checkpoint_{digest}.pt"
    net.to(run.device)
    batches = run.batches(
        "train", batch_size=budget.batch_size, augment=budget.augment, device=run.device
    )
    images = torch.split(torch.from_numpy(calibration).to(run.device), GROUP)
    with ProgressBar(console, "train on") as bar, rounded(net, images):

        def on_step(done: int, steps: int) -> None:
            bar.start(steps, done - 1)
            bar(done, f"epoch {-(-done // len(batches))} of {budget.epochs}")

        try:
            train(
                net,
                batches,
                budget,
                device=run.device,
                seed=run.settings.seed,
                progress=on_step,
                checkpoint=checkpoint,
            )
        except TrainingFailed as error:
            raise UserError(f"qat=true fails: {error}") from None
    trained = copy.deepcopy(run.net)
    trained.load_state_dict(net.state_dict())
    torch.save(trained.state_dict(), content := io.BytesIO())
    write_bytes(run.new / TRAINED, content.getvalue())
    for left in run.folder.glob("checkpoint_*.pt"):
        left.unlink()
    return trained


def digest_of(weights: Mapping[str, torch.Tensor], calibration: Image, budget: Budget) -> str:
    """Twelve digits that no training from other weights, images or with another budget shares."""
    state = hashlib.sha256(repr((budget, budget.norms)).encode() + calibration.tobytes())
    for name, tensor in weights.items():
        state.update(name.encode())
        state.update(tensor.cpu().numpy().tobytes())
    return state.hexdigest()[:12]
