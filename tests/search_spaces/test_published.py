"""Golden: others' numbers for every published network, exactly."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SHARED, needs_shared, reference
from published_records import our_name, records
from torch import nn

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.network.modules import build
from search_spaces.lookup import PUBLISHED
from search_spaces.published import MAKERS

MNASNET_WIDTHS = {"050": "_0.5", "075": "_0.75", "100": "", "140": "_1.4"}


def execution_hash(arch: Arch, flag: type = int) -> str:
    """The reference's hash of the layers of `build(arch)`, in the order that torch runs them.

    `flag` is how it writes whether there is a bias.
    """
    with torch.device("meta"):
        net = build(arch).eval()
    order: list[list[object]] = []

    def note(module: nn.Module, *_: object) -> None:
        if isinstance(module, nn.Conv2d):
            order.append(["conv", list(module.weight.shape), flag(module.bias is not None)])
        elif isinstance(module, nn.BatchNorm2d):
            order.append(["bn", [module.num_features]])
        elif isinstance(module, nn.Linear):
            order.append(["fc", list(module.weight.shape), flag(module.bias is not None)])

    for module in net.modules():
        module.register_forward_hook(note)
    net(torch.empty(1, arch.channels, arch.resolution, arch.resolution, device="meta"))
    return hashlib.sha256(json.dumps(order, separators=(",", ":")).encode()).hexdigest()


@needs_shared
@pytest.mark.parametrize(
    ("source", "record"), records(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_parameters_macs_and_layers_equal_the_reference(source, record):
    arch = PUBLISHED[our_name(source)]
    assert arch.resolution == record["res"]
    ours = cost(arch)
    assert (ours.params, ours.macs) == (record["params"], record["macs_conv_fc"])
    flag = bool if "rows" in record else int  # of the newer files
    assert execution_hash(arch, flag) == record["exec_hash"]


@needs_shared
def test_every_reference_file_was_covered():
    assert len(records()) == 123
    covered = {our_name(n).removeprefix("tf_") for n, _ in records()}
    elsewhere = {"mobilenet_v4_conv_medium", "shufflenet_v2"}  # these have tests of their own
    assert covered >= {n for n in MAKERS if "v3_" not in n} - elsewhere


def fill_deterministically(net: nn.Module, order: list[nn.Module]) -> None:
    """Weights by the reference's recipe (its README, section 2)."""
    for m, module in enumerate(order):
        r = np.random.RandomState(1000 + m)

        def put(tensor: torch.Tensor, values: np.ndarray) -> None:
            tensor.data.copy_(torch.from_numpy(np.asarray(values)).reshape(tensor.shape))

        if isinstance(module, nn.Conv2d):
            shape = tuple(module.weight.shape)
            put(module.weight, r.randn(*shape) * np.sqrt(2 / np.prod(shape[1:])))
        elif isinstance(module, nn.Linear):
            put(module.weight, r.randn(*module.weight.shape) * np.sqrt(1 / module.in_features))
        if isinstance(module, nn.BatchNorm2d):
            c = module.num_features
            put(module.weight, 1 + 0.1 * r.randn(c))
            put(module.bias, 0.1 * r.randn(c))
            put(module.running_mean, 0.1 * r.randn(c))
            put(module.running_var, 1 + 0.2 * r.rand(c))
        elif module.bias is not None:
            put(module.bias, 0.1 * r.randn(module.bias.numel()))


GOLDEN = {**reference("golden").get("models", {}), **reference("mobilenet_v4").get("golden", {})}


@needs_shared
@pytest.mark.parametrize(("source", "side"), [(n, side) for n in GOLDEN for side in GOLDEN[n]])
def test_logits_equal_the_reference(source, side):
    name = our_name(source)
    if source == "timm:mobilenetv3_large_100":
        # timm's own: TensorFlow's tail, symmetric padding, eps 1e-5
        arch = replace(PUBLISHED[name], padding="symmetric", bn_eps=1e-5)
    else:
        arch = PUBLISHED[name]
    net = build(arch).double().eval()
    order: list[nn.Module] = []
    hooks = [
        m.register_forward_hook(lambda mod, *_: order.append(mod))
        for m in net.modules()
        if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    ]
    x = torch.from_numpy(np.random.RandomState(0).randn(1, 3, int(side), int(side)))
    with torch.inference_mode():
        net(x)
        for hook in hooks:
            hook.remove()
        fill_deterministically(net, order)
        logits = net(x)[0]
    want = GOLDEN[source][side]
    scale = float(np.abs(want["logits16"]).max())
    np.testing.assert_allclose(logits[:16], want["logits16"], rtol=1e-6, atol=1e-6 * scale)
    assert logits.norm().item() == pytest.approx(want["l2"], rel=1e-6)
    assert logits.topk(5).indices.tolist() == want.get("top5", logits.topk(5).indices.tolist())


@needs_shared
def test_nas_bench_macro_rows_are_reproduced():
    with gzip.open(SHARED / "data" / "nas_bench_macro.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    ids = set()
    for row in rows:
        arch = PUBLISHED[f"nas_bench_macro_{row['arch']}"]
        ours = cost(arch)
        assert (ours.params, ours.macs) == (int(row["params"]), int(row["flops"]))
        ids.add(network_id(arch))
    assert (len(rows), len(ids)) == (6561, 3969)


def test_peak_memory_is_mobilenet_v2s_table_3():
    # KB of 1,024 bytes, rounded as the table rounds: 1600 KB and 400 KB
    assert round(cost(PUBLISHED["mobilenet_v1"]).peak_memory_bytes / 1024, -2) == 1600
    assert round(cost(PUBLISHED["mobilenet_v2"]).peak_memory_bytes / 1024, -2) == 400


def test_names_take_width_and_resolution():
    arch = PUBLISHED["mobilenet_v1_0.5_160"]
    assert (arch.resolution, arch.stem.width, arch.name) == (160, 16, "mobilenet_v1_0.5_160")
    assert PUBLISHED["tf_efficientnet_b0"].padding == "same"
    assert "mobilenet_v2_0.35" in PUBLISHED
    assert "mobilenet_v9" not in PUBLISHED
    assert len(PUBLISHED) == sum(1 for _ in PUBLISHED)
    with pytest.raises(UserError, match="did you mean mobilenet_v2"):
        PUBLISHED["mobilnet_v2"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v2_0.0", "mobilenet_v2_0.0: its width must be from 0.05 to 16"),
        ("mobilenet_v1_99.0", "its width must be from 0.05 to 16, not 99.0"),
        ("mobilenet_v1_0.04_96", "its width must be"),
        ("efficientnet_b0_00", "efficientnet_b0_00: its resolution must be from 1 to 8192, not 0"),
        ("tf_mobilenet_v2_0.5_9999", "its resolution must be from 1 to 8192, not 9999"),
        ("mobilenet_v2_5", "unknown network 'mobilenet_v2_5'; did you mean mobilenet_v2?"),
        ("nas_bench_macro_012", "eight digits of 0, 1, 2, not '012'"),
        ("", "unknown network ''"),
        ("a\nb", "unknown network 'a"),
        (5, "by its name, not by 5"),
        (None, "by its name, not by None"),
        ([], "by its name, not by []"),
    ],
)  # fmt: skip
def test_a_wrong_name_gets_one_line(name, message):
    with pytest.raises(UserError) as error:
        PUBLISHED[name]
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert name not in PUBLISHED


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("width", ["0.05", "16.0"])
def test_every_network_exists_at_both_ends_of_the_widths(name, width):
    assert cost(PUBLISHED[f"{name}_{width}"]).macs > 0
