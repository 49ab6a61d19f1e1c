"""Training steps as one CUDA graph, where launching them takes longer than computing them.

A small network's step is hundreds of launches, which take their time whatever the GPU.  All its
batches have one shape, so that a step is captured once and replayed with other images, labels and
learning rate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.network.cuda_graph import WARM_UP, CaptureFailed, capture, warm_up

MIN_STEPS = 100  # of a training, from which a capture is worth its fraction of a second

Step = Callable[[Tensor, Tensor], Tensor]  # images (B, C, H, W), labels: the loss, a scalar


def pays(device: torch.device, steps: int) -> bool:
    """Whether a training of so many steps is to be captured."""
    return device.type == "cuda" and steps >= MIN_STEPS


@dataclass
class CapturedStep:
    """Does `step` eagerly WARM_UP times, then replays it; another shape is done eagerly.

    The loss that it gives is overwritten by the next step.  What cannot be captured stays eager,
    with a warning.
    """

    step: Step
    optimizer: torch.optim.Optimizer
    eager_steps: int = 0
    gave_up: bool = False
    replay: Callable[[], None] | None = None

    def __call__(self, images: Tensor, labels: Tensor, lr: float) -> Tensor:
        """One step at that learning rate."""
        if self.replay is None and self.eager_steps >= WARM_UP and not self.gave_up:
            self._capture(images, labels)
        if self.replay is None or not self._fits(images, labels):
            return self._eager(images, labels, lr)
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.lr.fill_(lr)
        self.replay()
        return self.loss

    def _eager(self, images: Tensor, labels: Tensor, lr: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.eager_steps += 1
        if self.eager_steps > WARM_UP:
            return self.step(images, labels)
        losses: list[Tensor] = []
        warm_up(lambda: losses.append(self.step(images, labels)), times=1)
        return losses[0]

    def _fits(self, images: Tensor, labels: Tensor) -> bool:
        return images.shape == self.images.shape and labels.shape == self.labels.shape

    def _static_step(self) -> Tensor:
        return self.step(self.images, self.labels)

    def _capture(self, images: Tensor, labels: Tensor) -> None:
        """Nothing is computed yet; the optimizer's settings are as before."""
        self.images, self.labels = images.clone(), labels.clone()
        self.lr = torch.zeros((), device=images.device)
        groups = self.optimizer.param_groups
        before = [dict(group) for group in groups]
        for group in groups:
            group["lr"] = self.lr
            if "capturable" in group:  # AdamW's
                group["capturable"] = True
        try:
            self.replay, self.loss = capture(self._static_step)
        except CaptureFailed as error:
            self.gave_up = True
            self.optimizer.zero_grad()
            warnings.warn(f"no CUDA graph, trained layer by layer: {error}", stacklevel=2)
        finally:
            for group, settings in zip(groups, before, strict=True):
                group.update(settings)
