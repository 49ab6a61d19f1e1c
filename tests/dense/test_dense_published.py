"""Golden: torchvision's networks for boxes and masks, and the totals of MobileNetV2's paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import needs_shared, reference
from torch import nn

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.dense import anchor_maps
from nas.arch.layers import Conv
from nas.arch.operators import network_id, operators
from nas.core.errors import UserError
from nas.network.modules import Network, build
from search_spaces.lookup import PUBLISHED

NAMES = [
    "ssdlite320_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
    "deeplabv3_mobilenet_v3_large",
]


def in_order(net: Network, image: torch.Tensor) -> list[nn.Module]:
    """Convolutions and norms in the order in which they run."""
    order: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: order.append(module))
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    with torch.inference_mode():
        net(image)
    for hook in hooks:
        hook.remove()
    return order


def fill_by_recipe(module: nn.Module, number: int) -> None:
    """The weights of ../shared/reference/README.md, section 2."""
    r = np.random.RandomState(1000 + number)
    if isinstance(module, nn.Conv2d):
        shape = module.weight.shape
        values = [r.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))]
        values += [] if module.bias is None else [0.1 * r.randn(shape[0])]
        targets = [module.weight, module.bias]
    else:
        assert isinstance(module, nn.BatchNorm2d)
        n = module.num_features
        values = [1 + 0.1 * r.randn(n), 0.1 * r.randn(n), 0.1 * r.randn(n), 1 + 0.2 * r.rand(n)]
        targets = [module.weight, module.bias, module.running_mean, module.running_var]
    for target, value in zip(targets, values, strict=False):
        target.data.copy_(torch.from_numpy(value))


@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_macs_are_torchvisions_row_by_row(name):
    arch, record = PUBLISHED[name], reference("dense")[name]
    assert arch.resolution == record["side"]
    assert (cost(arch).params, cost(arch).macs) == (record["params"], record["macs_conv"])
    ours = sorted(
        [x.cin, x.cout, x.kernel, x.stride, x.groups, x.dilation, x.side_out]
        for row in operators(arch)
        for x in row.layers
        if isinstance(x, Conv)
    )
    squeezes = sorted(row[1:8] for row in record["rows"])
    assert [row for row in squeezes if row in ours] == ours  # those of SE are no layers of ours


@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_answers_are_torchvisions(name):
    arch, golden = PUBLISHED[name], reference("dense")[name]["golden"]
    net, side = build(arch, 0).double().eval(), arch.resolution
    image = torch.from_numpy(np.random.RandomState(0).randn(1, 3, side, side))
    order = in_order(net, image)
    if name.startswith("lraspp"):  # its two classifiers run the other way round
        order[-2:] = order[:-3:-1]
    for number, module in enumerate(order):
        fill_by_recipe(module, number)
    with torch.inference_mode():
        answer = net(image)
    ours = {"out": answer}
    if name.startswith("ssdlite"):
        ours = {"cls_logits": answer[..., :91], "bbox_regression": answer[..., 91:]}
    for key, values in ours.items():
        assert list(values.shape) == golden[key]["shape"]
        first = values.flatten()[:16].numpy()
        assert np.allclose(first, golden[key]["first16"], rtol=1e-6, atol=1e-9)
        for figure, value in (("sum", values.sum()), ("l2", values.norm())):
            assert value.item() == pytest.approx(golden[key][figure], rel=1e-6)


def test_mobilenet_v2_has_the_totals_of_its_paper():
    """Sandler et al. 2018, Table 6: 4.3 M parameters, 0.8 B multiply-adds, at 320 pixels.

    With COCO's 80 classes and the background, and three anchors on the finest map, as in the
    TensorFlow detection code (reduce_boxes_in_lowest_layer).
    """
    published = PUBLISHED["ssdlite320_mobilenet_v2"]
    counts = cost(replace(published, classes=81, dense=replace(published.dense, first_anchors=3)))
    assert (round(counts.params / 1e6, 1), round(counts.macs / 1e9, 1)) == (4.3, 0.8)


def test_maps_of_ssdlite_halve_down_to_one_pixel():
    assert anchor_maps(operators(PUBLISHED["ssdlite320_mobilenet_v3_large"])) == [
        (20, 6), (10, 6), (5, 6), (3, 6), (2, 6), (1, 6),
    ]  # fmt: skip
    assert [side for side, _ in anchor_maps(operators(PUBLISHED["ssdlite160_mobilenet_v2"]))] == [
        10, 5, 3, 2, 1,
    ]  # fmt: skip
    assert anchor_maps(operators(PUBLISHED["mobilenet_v2"])) == []


def test_finer_maps_come_before_the_usual_ones():
    usual = PUBLISHED["ssdlite320_efficientnet_lite0"]
    finer = replace(usual, dense=replace(usual.dense, finer_maps=1))
    sides = [side for side, _ in anchor_maps(operators(finer))]
    assert sides == [40] + [side for side, _ in anchor_maps(operators(usual))]
    kept = next(row for row in operators(finer) if row.place == "boxes").sources
    assert kept[:3] == ("stage4_block1_expand", "stage6_block1_expand", "head")


def test_an_output_stride_dilates_instead_of_striding():
    lite = PUBLISHED["lraspp_efficientnet_lite0"]
    kernels = [
        (x.stride, x.dilation)
        for row in operators(replace(lite, dense=replace(lite.dense, output_stride=8)))
        for x in row.layers
        if isinstance(x, Conv) and x.kernel > 1
    ]
    assert sum(stride == 2 for stride, _ in kernels) == 3
    assert [dilation for _, dilation in kernels][-1] == 4
    assert sorted({dilation for _, dilation in kernels}) == [1, 2, 4]


def test_what_a_head_reads_counts_for_the_identity():
    lraspp = PUBLISHED["lraspp_mobilenet_v3_small"]
    assert network_id(lraspp) != network_id(replace(lraspp, dense=None))
    assert network_id(lraspp) == network_id(PUBLISHED["lraspp224_mobilenet_v3_small"])


@pytest.mark.parametrize("name", ["ssdlite320_no_such", "nohead_mobilenet_v2", "ssdlite_"])
def test_an_unknown_name_is_an_error_of_one_line(name):
    with pytest.raises(UserError, match="network"):
        _ = PUBLISHED[name]


def test_a_backbone_without_the_map_is_an_error_of_one_line():
    flat = Arch(PUBLISHED["mobilenet_v2"].stages[:1], resolution=32)
    for head, words in (("ssdlite", "stride 2"), ("lraspp", "stride 8")):
        with pytest.raises(UserError, match=words):
            operators(replace(flat, dense=PUBLISHED[f"{head}_mobilenet_v2"].dense))
