"""How good a classifier is on images: accuracy and cross-entropy, with standard errors."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.network.device import layout, to_device
from nas.stats.correlation import share_error
from nas.training.processes import joined_rows

ADVICE = "lower budget.batch_size, data.resolution or workers"
OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory"),  # torch's wordings
    *("ALLOC_FAILED", "unable to find an engine"),  # cuBLAS's and cuDNN's
)


class Loader(Protocol):
    """What `train` and `evaluate` read: images float (B, C, H, W) and labels int64 (B,)."""

    def __len__(self) -> int: ...  # batches in an epoch

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch, the same each time it is asked for."""


class TrainingFailed(RuntimeError):  # noqa: N818 - an outcome, and named like one
    """A network that cannot be trained like this; `reason`: "not_finite" or "out_of_memory"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it can pass between processes
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Score:
    """Accuracy (fraction) and cross-entropy (nats) over `num_images`, with standard errors."""

    accuracy: float
    accuracy_se: float
    cross_entropy: float
    cross_entropy_se: float
    num_images: int


def evaluate(module: nn.Module, batches: Loader, *, device: torch.device) -> Score:
    """Score `module` on the batches of epoch 0.  Raises TrainingFailed for want of memory."""
    return scored(*image_losses(module, batches, device=device))


def scored(losses: Tensor, correct: Tensor) -> Score:
    """The Score of what `image_losses` found, (N,) each; TrainingFailed where it is not finite."""
    if not losses.isfinite().all():
        raise TrainingFailed("not_finite", "the network answers with numbers that are not finite")
    accuracy, number = correct.double().mean().item(), len(losses)
    return Score(
        accuracy,
        accuracy_se=share_error(accuracy, number),
        cross_entropy=losses.mean().item(),
        cross_entropy_se=losses.std(correction=0).item() / math.sqrt(number),
        num_images=number,
    )


def image_losses(
    module: nn.Module,
    batches: Loader,
    *,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N,), float64, and whether the answer is right (N,), bool, image by image.

    Both are on the CPU and in the order of the batches, of joined processes those of rank 0 first:
    each gives a part of the images and gets all.  The module is left in evaluation mode.
    `progress(batches done)` is called after every batch.
    """
    to_device(module, device).eval()
    losses, correct = [], []
    with name_failures("scoring"), torch.inference_mode():
        for done, (images, labels) in enumerate(batches.epoch(0), 1):
            logits = module(images.contiguous(memory_format=layout(device)))
            losses.append(F.cross_entropy(logits.float(), labels, reduction="none"))
            correct.append(logits.argmax(1) == labels)
            if progress is not None:
                progress(done)
    return joined_rows(torch.cat(losses).cpu().double().clone(), torch.cat(correct).cpu().clone())


def divergence(answers: Tensor, changed: Tensor) -> float:
    """Mean Kullback-Leibler divergence in nats of logits (N, classes, ...) from changed ones."""
    a, b = answers.log_softmax(1), changed.log_softmax(1)
    places = a[0, 0].numel()
    return F.kl_div(b, a, reduction="batchmean", log_target=True).item() / places


def packed(correct: Tensor) -> str:
    """(N,) bool as text: N, and its bits in base64."""
    bits = np.packbits(correct.numpy())
    return f"{len(correct)} {b64encode(bits.tobytes()).decode()}"


def unpacked(text: str) -> Tensor:
    """The inverse of `packed`."""
    number, bits = text.split()
    octets = np.frombuffer(b64decode(bits), np.uint8)
    return torch.from_numpy(np.unpackbits(octets, count=int(number)).astype(bool))


def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean of first - second over the same images, (N,) each, and its standard error."""
    difference = first.double() - second.double()
    return difference.mean().item(), difference.std(correction=0).item() / math.sqrt(len(first))


@contextmanager
def name_failures(task: str, advice: str = ADVICE) -> Iterator[None]:
    """Turn every way of torch's to say that memory ran out into TrainingFailed, with `advice`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not short and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        raise TrainingFailed("out_of_memory", f"out of memory while {task}: {advice}") from error
