"""How good a network is in 8 bits, where that is what the device will run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nas.arch.arch import Arch
from nas.data.batches import Resized
from nas.network.activation_ranges import activation_ranges
from nas.network.modules import Network, arrays
from nas.network.onnx_graph import onnx_model
from nas.network.quantization import quantize
from nas.network.sessions import open_session

CALIBRATION = 64  # training images
ImageLosses = Callable[[Resized], tuple[Tensor, Tensor]]


def answers_in_int8(net: Network, arch: Arch, calibration: Resized) -> ImageLosses:
    """What `image_losses` says of batches, of the network with 8-bit weights and activations.

    Ranges of activations are those on the first batch of `calibration`.  ONNX Runtime answers, on
    the processor and image by image, as a device does.
    """
    model = onnx_model(arch, arrays(net))
    first, _ = next(iter(calibration.epoch(0)))
    ranges = activation_ranges(model.SerializeToString(), first.cpu().numpy())
    session = open_session(quantize(model, ranges).SerializeToString(), threads=1)

    def answers(batches: Resized) -> tuple[Tensor, Tensor]:
        losses, correct = [], []
        for images, labels in batches.epoch(0):
            found = [session.run(None, {"image": image})[0] for image in _one_by_one(images)]
            logits, known = torch.from_numpy(np.concatenate(found)), labels.cpu()
            losses.append(F.cross_entropy(logits, known, reduction="none").double())
            correct.append(logits.argmax(1) == known)
        return torch.cat(losses), torch.cat(correct)

    return answers


def _one_by_one(images: Tensor) -> Iterator[NDArray[np.float32]]:
    for image in images.cpu().numpy():
        yield np.ascontiguousarray(image[None])
