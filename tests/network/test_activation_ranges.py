"""The ranges of activations are the extremes of what the network computes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from test_onnx_graph import TINY, image, trained, weights

from nas.core.errors import UserError
from nas.network.activation_ranges import activation_ranges, assumed_ranges
from nas.network.onnx_graph import onnx_model


def test_extremes_of_every_activation():
    net, x = trained(TINY), image(TINY, 3)
    model = onnx_model(TINY, weights(net))
    ranges = activation_ranges(model.SerializeToString(), iter(x))
    assert set(ranges) == {"image", *(node.name for node in model.graph.node[:-1]), "logits"}
    assert ranges["image"] == (x.min(), x.max())
    with torch.no_grad():
        stem = net.stem(torch.from_numpy(x)).numpy()
        logits = net(torch.from_numpy(x)).numpy()
    for name, values in (("stem.conv.relu", stem), ("logits", logits)):
        assert ranges[name] == pytest.approx((values.min(), values.max()), rel=1e-5, abs=1e-6)


def test_of_two_images_the_hull():
    x = image(TINY, 2)
    model = onnx_model(TINY).SerializeToString()
    one, other, both = (activation_ranges(model, images) for images in (x[:1], x[1:], x))
    for name, (low, high) in both.items():
        assert (low, high) == (min(one[name][0], other[name][0]), max(one[name][1], other[name][1]))


def test_no_image():
    with pytest.raises(UserError, match="there is no image"):
        activation_ranges(onnx_model(TINY).SerializeToString(), [])


def test_assumed_ranges_know_every_name():
    low, high = assumed_ranges()["whatever"]
    assert low < 0 < high


def test_the_model_is_not_changed():
    model = onnx_model(TINY).SerializeToString()
    activation_ranges(model, image(TINY))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [out.name for out in session.get_outputs()] == ["logits"]
    assert np.isfinite(session.run(None, {"image": image(TINY)})[0]).all()
