"""A trained network as an ONNX model that carries what is needed to use it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.arch.arch import Arch
from nas.network.modules import Network, arrays
from nas.network.onnx_graph import onnx_model
from nas.network.sessions import open_session

RESIZE = (
    "upright by EXIF, transparency white, RGB or grey, the centre square, bicubic with antialiasing"
)
SQUEEZE = (
    "upright by EXIF, transparency white, RGB, the whole picture squeezed to the square, bilinear "
    "with antialiasing"
)
CLOSE = 1e-3  # of the largest logit: more than what float32 in another order makes


def export_onnx(
    net: Network,
    arch: Arch,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    value_range: Sequence[float] = (0.0, 255.0),
    squeezed: bool = False,
) -> bytes:
    """The network as ONNX: "image" (1, C, H, W) to "logits" (1, classes), norms folded in.

    Its metadata hold, as JSON, the `classes` in the order of the logits, `mean`, `std` and the
    `range` of ((x - range[0]) / (range[1] - range[0]) - mean) / std, by which images are
    normalised, and how they were brought to size: `squeezed` whole to the square, for boxes and
    masks.  Pictures of 8 bits always have range 0 to 255; of others what lies outside is clipped
    before, NaN is the lowest.
    """
    model = onnx_model(arch, arrays(net))
    facts: dict[str, Any] = {"classes": list(classes), "mean": list(mean), "std": list(std)}
    facts["resize"] = SQUEEZE if squeezed else RESIZE
    facts["range"] = list(value_range)
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    return bytes(model.SerializeToString())


def largest_difference(model: bytes, net: Network, images: Tensor) -> float:
    """The largest difference between logits of the ONNX `model` and of `net` on `images`.

    Raises RuntimeError where it is more than float32 explains.
    """
    session = open_session(model)
    theirs = [session.run(None, {"image": image[None].numpy()})[0][0] for image in images]
    with torch.inference_mode():
        ours = net(images).numpy()
    off = float(np.abs(np.array(theirs) - ours).max())
    if not off <= CLOSE * max(1.0, float(np.abs(ours).max())):
        raise RuntimeError(f"the exported model's logits are {off:g} off")
    return off
