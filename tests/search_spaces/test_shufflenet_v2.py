"""ShuffleNetV2: others' numbers, exactly, and its weights under torchvision's names."""

from __future__ import annotations

import hashlib
import json
from itertools import count

import numpy as np
import pytest
import torch
from conftest import needs_shared, reference
from test_published import fill_deterministically
from torch import nn

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.layers import Conv, Linear
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.network.modules import Network, build
from nas.network.weights import load_weights
from search_spaces.lookup import PUBLISHED

NAMES = {
    "shufflenet_v2_0.5": "x0_5",
    "shufflenet_v2": "x1_0",
    "shufflenet_v2_1.5": "x1_5",
    "shufflenet_v2_2.0": "x2_0",
}
SOURCE = "torchvision:shufflenet_v2_x1_0"


def executed(net: nn.Module, x: torch.Tensor) -> list[nn.Module]:
    """The convolutions, norms and linear layers in the order in which they run."""
    order: list[nn.Module] = []
    hooks = [
        m.register_forward_hook(lambda module, *_: order.append(module))
        for m in net.modules()
        if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    ]
    with torch.inference_mode():
        net(x)
    for hook in hooks:
        hook.remove()
    return order


def described(module: nn.Module) -> list[object]:
    if isinstance(module, nn.BatchNorm2d):
        return ["bn", [module.num_features]]
    kind = "conv" if isinstance(module, nn.Conv2d) else "fc"
    return [kind, list(module.weight.shape), module.bias is not None]


@needs_shared
def test_every_layer_equals_the_reference():
    arch, record = PUBLISHED["shufflenet_v2"], reference("shufflenet_v2")["models"][SOURCE]
    ours = cost(arch)
    assert (ours.params, ours.macs) == (record["params"], record["macs_conv_fc"])
    assert [[arch.bn_eps, arch.bn_momentum]] == record["bn"]
    assert rows_of(arch) == [row[:-1] for row in record["rows"]]
    with torch.device("meta"):
        order = executed(build(arch).eval(), torch.empty(1, 3, 224, 224))
    text = json.dumps([described(module) for module in order], separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == record["exec_hash"]


def rows_of(arch: Arch) -> list[list[object]]:
    """The reference's rows: kind, cin, cout, k, s, groups, pad, hw_out."""
    rows: list[list[object]] = []
    for layer in (layer for row in operators(arch) for layer in row.layers):
        match layer:
            case Conv(cin=cin, cout=cout, kernel=k, stride=s, groups=groups):
                rows.append(["conv", cin, cout, k, s, groups, k // 2, layer.side_out])
            case Linear(cin=cin, cout=cout):
                rows.append(["fc", cin, cout, 0, 0, 1, 0, 1])
    return rows


@needs_shared
@pytest.mark.parametrize("side", [96, 97])
def test_logits_equal_the_reference(side):
    net = build(PUBLISHED["shufflenet_v2"]).double().eval()
    x = torch.from_numpy(np.random.RandomState(0).randn(1, 3, side, side))
    fill_deterministically(net, executed(net, x))
    with torch.inference_mode():
        logits = net(x)[0]
    want = reference("shufflenet_v2")["golden"][SOURCE][str(side)]
    scale = float(np.abs(want["logits16"]).max())
    np.testing.assert_allclose(logits[:16], want["logits16"], rtol=1e-6, atol=1e-6 * scale)
    assert logits.sum().item() == pytest.approx(want["sum"], rel=1e-6)
    assert logits.norm().item() == pytest.approx(want["l2"], rel=1e-6)


@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_multiply_adds_are_those_that_torchvision_states(name):
    facts = reference("pretrained_registry")["torchvision"]
    fact = facts[f"shufflenet_v2_{NAMES[name]}.IMAGENET1K_V1"]
    ours = cost(PUBLISHED[name])
    assert (ours.params, round(ours.macs / 1e9, 3)) == (fact["num_params"], fact["gmacs"])


def test_other_widths_multiply_those_of_one():
    assert [s.width for s in PUBLISHED["shufflenet_v2_0.25"].stages] == [24, 32, 56, 120]
    with pytest.raises(UserError, match="its width must be from"):
        PUBLISHED["shufflenet_v2_99.0"]


def torchvisions(net: Network) -> dict[str, torch.Tensor]:
    """The state dict of `net`, its keys as torchvision 0.28.0 names them, in its order."""
    branches = {"left_depthwise": (1, 0), "left_last": (1, 2)}
    branches |= {"right_first": (2, 0), "right_depthwise": (2, 3), "right_last": (2, 5)}
    found = {}
    for key, tensor in net.state_dict().items():
        place, role, kind, *rest = key.split(".")
        if place.startswith("stage"):
            stage, block = (int(word) for word in place[5:].split("_block"))
            branch, number = branches[role]
            number += kind == "bn"
            names = [f"stage{stage}", str(block - 1), f"branch{branch}", str(number)]
        elif place == "classifier":
            names = ["fc"]
        else:
            names = [{"stem": "conv1", "head": "conv5"}[place], str(int(kind == "bn"))]
        found[".".join([*names, *rest])] = tensor
    return found


@pytest.mark.parametrize("ordered", [True, False], ids=["in_order", "sorted"])
def test_torchvisions_names_are_known(ordered):
    arch = PUBLISHED["shufflenet_v2_0.5"]
    given, numbers = build(arch, seed=1), count(1.0)
    with torch.no_grad():
        for tensor in given.state_dict().values():
            if tensor.is_floating_point():
                tensor.fill_(next(numbers))
    state = torchvisions(given)
    assert {"conv1.0.weight", "stage2.0.branch1.3.running_var", "stage4.3.branch2.6.bias"} <= {
        *state
    }
    state = state if ordered else dict(sorted(state.items()))
    net = build(arch, seed=2)
    assert load_weights(net, state) == ()
    theirs = given.state_dict()
    assert all(torch.equal(theirs[k], v) for k, v in net.state_dict().items() if "num_" not in k)
