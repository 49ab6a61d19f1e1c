"""Every kind of block with a last convolution: read, cut, set anew, and the gates solved again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_networks import KINDS, last_layer, made_block, maps_of, row_of

from nas.arch.blocks import block_row
from nas.arch.layers import SqueezeExcite
from nas.inheritance.surgery import (
    DEAD,
    GateMoments,
    columns,
    cropped,
    cut,
    features,
    folded,
    hidden_channels,
    last_conv,
    layers_of,
    resolve_gate,
    spatial,
    unfold_into,
    with_kernel,
)
from nas.network.modules import OperatorModule, SqueezeExciteGate

PADDINGS, SIDES = ("symmetric", "same"), (8, 9)
NORMS = {padding: (padding, 1e-5, 0.1) for padding in PADDINGS}
every_kind = pytest.mark.parametrize("name", KINDS)
every_padding = pytest.mark.parametrize("padding", PADDINGS)
GATED = [
    name for name in KINDS if any(isinstance(x, SqueezeExcite) for x in row_of(name, 8).layers)
]


def answers(module, x):
    with torch.no_grad():
        return module(x.clone())


@every_kind
@every_padding
def test_the_last_convolution_is_a_linear_map_of_the_features(name, padding):
    for side in SIDES:
        row = row_of(name, side)
        module, x = made_block(row, padding), maps_of(row, 5, 1)
        last = last_conv(module)
        with torch.no_grad():
            read = features(module, x)
            assert read.shape[1] == hidden_channels(row) == last_layer(row).cin
            linear = last.linear(read.clone())
            weight, offset = folded(last)
            mapped = columns(last, read).double() @ weight + offset
            assert mapped.shape == (5, row.side_out**2, row.cout)
            assert torch.allclose(mapped.float(), linear.flatten(2).transpose(1, 2), atol=1e-4)
            out = last.act(linear)
            expected = x + out if row.residual else out
        assert torch.allclose(answers(module, x), expected, atol=1e-5)


@every_kind
@every_padding
def test_set_to_its_own_map_a_block_answers_as_before(name, padding):
    row = row_of(name, 8)
    module, x = made_block(row, padding), maps_of(row, 5, 1)
    before, weights = answers(module, x), last_conv(module).conv.weight.clone()
    unfold_into(last_conv(module), *folded(last_conv(module)))
    assert torch.allclose(answers(module, x), before, atol=1e-4)
    assert torch.allclose(last_conv(module).conv.weight, weights, atol=1e-5)  # in scale too


@every_kind
@pytest.mark.parametrize("how", ["weight", "tiny weight", "vast spread"])
def test_channels_without_a_factor_get_one(name, how):
    row = row_of(name, 8)
    module, x = made_block(row), maps_of(row, 5, 1)
    last = last_conv(module)
    with torch.no_grad():
        if how == "vast spread":
            last.bn.running_var[1:3] = 1e12
        else:
            last.bn.weight[1:3] = 0.0 if how == "weight" else -DEAD / 1e3
    before = answers(module, x)
    weight, offset = folded(last)
    unfold_into(last, weight, offset)
    assert torch.allclose(answers(module, x), before, atol=1e-4)
    other = weight + torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    unfold_into(last, other, offset + 1)
    with torch.no_grad():
        read = features(module, x)
        mapped = columns(last, read).double() @ other + offset + 1
        linear = last.linear(read).flatten(2).transpose(1, 2)
    assert torch.allclose(mapped.float(), linear, atol=1e-3)
    for own, set_to in zip(folded(last), (other, offset + 1), strict=True):
        assert torch.allclose(own, set_to, atol=1e-4)
    assert all(t.isfinite().all() for t in module.state_dict().values())


@every_kind
@every_padding
def test_cut_with_all_channels_and_the_same_kernel_it_is_itself(name, padding):
    row = row_of(name, 8)
    module, x = made_block(row, padding), maps_of(row, 5, 1)
    new = cut(row, module, torch.arange(hidden_channels(row)), NORMS[padding])
    assert torch.allclose(answers(new, x), answers(module, x), atol=1e-5)
    tensors = zip(new.state_dict().values(), module.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in tensors)
    unfold_into(last_conv(new), *(t + 1 for t in folded(last_conv(new))))
    assert not torch.allclose(answers(new, x), answers(module, x))  # weights of its own


@every_kind
def test_cut_stays_on_the_device_of_the_module(name):
    row = row_of(name, 8)
    module = made_block(row).to("meta")
    new = cut(row, module, torch.arange(hidden_channels(row)), NORMS["same"])
    assert {t.device.type for t in new.state_dict().values()} == {"meta"}


@every_kind
@every_padding
def test_a_smaller_kernel_is_the_middle_of_the_larger(name, padding):
    """With the rim of the kernel at zero the larger is the smaller, on every pixel."""
    for side in SIDES:
        row = with_kernel(row_of(name, side), 5)
        own = spatial(row)
        assert own.kernel == 5
        smaller, x = with_kernel(row, 3), maps_of(row, 5, 1)
        assert spatial(smaller).kernel == 3
        module = made_block(row, padding)
        conv = layers_of(module)[own.role].conv
        with torch.no_grad():
            middle = cropped(conv.weight, 3).clone()
            conv.weight.zero_()
            conv.weight[..., 1:-1, 1:-1] = middle
        new = cut(smaller, module, torch.arange(hidden_channels(row)), NORMS[padding])
        assert torch.allclose(answers(new, x), answers(module, x), atol=1e-5)


def fewer(name, hidden, side=8):
    """The row with that many hidden channels."""
    block, cin, cout, stride = KINDS[name]
    block = replace(block, expand=hidden / cin)
    row = block_row("stage1_block2", block, cin, cout, stride, side)
    assert hidden_channels(row) == hidden
    return row


CUTTABLE = [n for n in KINDS if len(row_of(n, 8).layers) > 1 and KINDS[n][0].expand > 1
            and KINDS[n][0].op != "separable"]  # fmt: skip


@pytest.mark.parametrize("name", CUTTABLE)
@every_padding
def test_channels_that_answer_nothing_can_go(name, padding):
    row, small = row_of(name, 8), fewer(name, 16)
    module, x = made_block(row, padding), maps_of(row, 5, 1)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    kept, gone = order[:16].sort().values, order[16:]
    with torch.no_grad():
        last_conv(module).conv.weight[:, gone] = 0
        if gate := layers_of(module).get("se"):
            gate.reduce.weight[:, gone] = 0
    new = cut(small, module, kept, NORMS[padding])
    assert torch.allclose(answers(new, x), answers(module, x), atol=1e-5)


def gate_of(name) -> tuple[OperatorModule, SqueezeExciteGate, torch.Tensor]:
    row = row_of(name, 8)
    module = made_block(row)
    gate = layers_of(module)["se"]
    assert isinstance(gate, SqueezeExciteGate)
    layers = list(module.children())
    x = maps_of(row, 300, 3)
    with torch.no_grad():
        for layer in layers[: layers.index(gate)]:
            x = layer(x)
    return module, gate, x


def moments_of(gate, x):
    moments = GateMoments.of(gate)
    with torch.no_grad():
        for part in x.split(70):
            moments.add(gate, part)
    return moments


def opening(gate, x):
    """What the gate's last function reads of x (N, C, H, W): (N, C)."""
    with torch.no_grad():
        return gate.expand(gate.act(gate.reduce(gate.pool(x)))).flatten(1)


def empty_gate(channels, squeeze, like):
    block_gate = SqueezeExciteGate(SqueezeExcite(channels, squeeze, "relu", "sigmoid", 8))
    block_gate.act, block_gate.gate = like.act, like.gate
    return block_gate


@pytest.mark.parametrize("name", GATED)
def test_a_gate_solved_for_all_channels_and_units_is_itself(name):
    _, gate, x = gate_of(name)
    new = empty_gate(*reversed(gate.reduce.weight.shape[:2]), gate)
    resolve_gate(new, gate, moments_of(gate, x), torch.arange(gate.reduce.weight.shape[1]))
    assert torch.allclose(opening(new, x), opening(gate, x), atol=1e-3)
    for ours, theirs in zip(new.parameters(), gate.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)


def sliced(gate, kept, units):
    new = empty_gate(len(kept), len(units), gate)
    with torch.no_grad():
        new.reduce.weight.copy_(gate.reduce.weight[units][:, kept])
        new.reduce.bias.copy_(gate.reduce.bias[units])
        new.expand.weight.copy_(gate.expand.weight[kept][:, units])
        new.expand.bias.copy_(gate.expand.bias[kept])
    return new


@pytest.mark.parametrize("name", GATED)
@pytest.mark.parametrize("part", [0.75, 0.5, 0.25])
@pytest.mark.parametrize("fewer_units", [False, True])
def test_with_fewer_channels_it_opens_more_truly_than_slices(name, part, fewer_units):
    _, gate, x = gate_of(name)
    squeeze, channels = gate.reduce.weight.shape[:2]
    draws = torch.Generator().manual_seed(0)
    kept = torch.randperm(channels, generator=draws)[: int(part * channels)].sort().values
    number = max(1, squeeze // 2) if fewer_units else squeeze
    new = empty_gate(len(kept), number, gate)
    resolve_gate(new, gate, moments_of(gate, x), kept)
    wanted, seen = opening(gate, x)[:, kept], x[:, kept]

    def error(other):
        return (opening(other, seen) - wanted).square().mean().item()

    slices = sliced(gate, kept, torch.arange(number))
    assert error(new) <= error(slices) + 1e-6
    if not fewer_units:  # of the units before their activation that is so by definition
        with torch.no_grad():
            true = gate.reduce(gate.pool(x))
            errors = [(g.reduce(g.pool(seen)) - true).square().mean() for g in (new, slices)]
        assert errors[0] <= errors[1] + 1e-6


@pytest.mark.parametrize("name", GATED)
def test_silent_units_and_still_pictures_do_not_spoil_a_gate(name):
    _, gate, x = gate_of(name)
    with torch.no_grad():
        gate.reduce.bias[0] = -100.0  # a unit that no picture wakes
    x = torch.cat([x[:1]] * 3)  # nor does any picture differ from another
    new = empty_gate(*reversed(gate.reduce.weight.shape[:2]), gate)
    resolve_gate(new, gate, moments_of(gate, x), torch.arange(gate.reduce.weight.shape[1]))
    assert torch.allclose(opening(new, x), opening(gate, x), atol=1e-2)
    assert all(p.isfinite().all() for p in new.parameters())
