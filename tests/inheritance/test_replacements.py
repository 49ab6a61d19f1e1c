"""What a block is replaced by, against numpy on all pixels; and how replacements are scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_networks import (
    KINDS,
    NETWORKS,
    batches_of,
    made_block,
    made_network,
    maps_of,
    pictures,
    row_of,
    space_of,
    table_of,
)

from nas.arch.blocks import block_row
from nas.arch.operators import operators
from nas.inheritance import replacements
from nas.inheritance.replacements import (
    PIXELS,
    BlockStudy,
    divergence,
    sampled,
    score_blocks,
    study_blocks,
)
from nas.inheritance.surgery import (
    columns,
    features,
    folded,
    hidden_channels,
    last_conv,
    layers_of,
    spatial,
    with_kernel,
)
from search_spaces.inherited import at_resolution, place_of, replacement_rows

PADDINGS = ("symmetric", "same")
every_kind = pytest.mark.parametrize("name", KINDS)
every_padding = pytest.mark.parametrize("padding", PADDINGS)


@pytest.fixture
def exact(monkeypatch):
    """All pixels, and hardly a ridge."""
    monkeypatch.setattr(replacements, "PIXELS", 10**6)
    monkeypatch.setattr(replacements, "CHOICE_RIDGE", 1e-7)


def smaller_rows(name, side=8):
    """The row itself, with half and three quarters of its channels, and with a smaller kernel."""
    block, cin, cout, stride = KINDS[name]
    row, rows = row_of(name, side), []
    hidden = hidden_channels(row)
    for size in (hidden, 3 * hidden // 4, hidden // 2) if hidden != cin else (hidden,):
        for kernel in {block.kernel, min(block.kernel, 3)}:
            other = replace(block, expand=size / cin, kernel=kernel)
            if made := block_row(row.place, other, cin, cout, stride, side):
                rows.append(made)
    assert all(hidden_channels(r) in (hidden, 3 * hidden // 4, hidden // 2) for r in rows)
    return rows


def studied(row, module, rows, padding, batches):
    study = BlockStudy(row, module, rows, (padding, 1e-5, 0.1), replacements.PIXELS)
    with torch.inference_mode():
        outs = [study.see(i, x) for i, x in enumerate(batches)]
    return study, outs


@every_kind
@every_padding
def test_studying_a_block_passes_on_what_it_answers(name, padding):
    row = row_of(name, 9)
    module = made_block(row, padding)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = maps_of(row, 3, 5).contiguous(memory_format=layout)
        _, (out,) = studied(row, module, smaller_rows(name, 9), padding, [x])
        with torch.inference_mode():
            assert torch.allclose(out, module(x.clone()), atol=1e-5)


@every_kind
@every_padding
def test_a_candidate_equal_to_the_block_answers_as_it_does(name, padding):
    row = row_of(name, 8)
    module, x = made_block(row, padding), maps_of(row, 120, 5)
    study, _ = studied(row, module, smaller_rows(name), padding, x.split(40))
    found = list(study.modules())
    assert {r.layers for r, _ in found} == {r.layers for r in smaller_rows(name)}
    ((_, own),) = [(r, m) for r, m in found if r.layers == row.layers]
    with torch.no_grad():
        assert torch.allclose(own(x.clone()), module(x.clone()), atol=2e-3)
    for _, new in found:
        assert not new.training
        assert all(t.isfinite().all() for t in new.state_dict().values())


def kept_of(row, new, old):
    """Which of the old hidden channels the new module has, by the weights that make them."""
    role = "expand" if "expand" in layers_of(old) else spatial(row).role
    ours, theirs = (layers_of(m)[role].conv.weight.flatten(1) for m in (new, old))
    if role != "expand":  # the kernel may be smaller
        side = int(layers_of(new)[role].conv.kernel_size[0])
        weight = layers_of(old)[role].conv.weight
        margin = (weight.shape[-1] - side) // 2
        theirs = weight[..., margin : margin + side, margin : margin + side].flatten(1)
    kept = torch.cdist(ours, theirs).argmin(1)
    assert torch.equal(theirs[kept], ours)
    return kept


@every_kind
@every_padding
def test_the_last_convolution_is_least_squares_on_all_pixels(name, padding, exact):
    row = row_of(name, 8)
    module, x = made_block(row, padding), maps_of(row, 60, 5)
    rows = smaller_rows(name)
    study, _ = studied(row, module, rows, padding, x.split(25))
    whole = torch.arange(hidden_channels(row))
    with torch.no_grad():
        wanted = last_conv(module).linear(features(module, x.clone()))
        y = wanted.flatten(2).transpose(1, 2).flatten(0, 1).double().numpy()  # (n, cout)
        for other, new in study.modules():
            last = last_conv(new)
            kept = kept_of(row, new, module) if len(row.layers) > 1 else whole
            # what it reads with the gates that the block had: new ones are solved beside
            large = replacements.cut(
                with_kernel(row, spatial(other).kernel), module, whole, study.norm
            )
            read = features(large, x.clone())
            read = read[:, kept] if len(kept) < len(whole) else read
            a = columns(last, read).flatten(0, 1).double().numpy()
            ones = np.column_stack([a, np.ones(len(a))])
            solution = np.linalg.lstsq(ones, y)[0]
            weight, offset = folded(last)
            ours = a @ weight.numpy() + offset.numpy()
            best = ones @ solution
            least, error = ((best - y) ** 2).mean(), ((ours - y) ** 2).mean()
            assert error <= least * (1 + 1e-4) + 1e-6
            assert np.abs(ours - best).max() < 1e-2
            if "se" not in layers_of(new):
                direct = last.linear(features(new, x.clone()))
                direct = direct.flatten(2).transpose(1, 2).flatten(0, 1).double().numpy()
                assert np.allclose(direct, ours, atol=1e-3)


def test_few_pictures_and_dead_channels_leave_finite_weights():
    for name in KINDS:
        row = row_of(name, 8)
        module = made_block(row)
        with torch.no_grad():
            last_conv(module).bn.weight[0] = 0.0
            first = next(child for child in module.children() if hasattr(child, "bn"))
            first.bn.weight[:3], first.bn.bias[:3] = 0.0, 0.0
        x = maps_of(row, 1, 5)
        study, _ = studied(row, module, smaller_rows(name), "symmetric", [x])
        for other, new in study.modules():
            assert all(t.isfinite().all() for t in new.state_dict().values())
            if other.layers == row.layers:
                with torch.no_grad():
                    assert torch.allclose(new(x.clone()), module(x.clone()), atol=1e-2)


def test_the_same_pixels_of_the_same_place_and_batch():
    maps = torch.arange(6 * 100 * 3).float().view(6, 100, 3)
    first = sampled("stage2_block1", 4, maps)
    assert first.shape == (6 * PIXELS, 3)
    assert torch.equal(first, sampled("stage2_block1", 4, maps))
    assert torch.equal(first + 1, sampled("stage2_block1", 4, maps + 1))
    assert torch.equal(first[:, :1], sampled("stage2_block1", 4, maps[:, :, :1]))
    assert not torch.equal(first, sampled("stage2_block1", 5, maps))
    assert not torch.equal(first, sampled("stage2_block2", 4, maps))
    pixels = first.view(6, PIXELS, 3)
    assert len({tuple(x) for x in first.tolist()}) == 6 * PIXELS
    for own, of in zip(pixels, maps, strict=True):  # each picture's own, whole and in order
        assert {tuple(x) for x in own.tolist()} <= {tuple(x) for x in of.tolist()}
        assert torch.equal(own, own[own[:, 0].argsort()])
    assert not torch.equal(pixels[0], pixels[1] - maps[1, 0])  # by a lot of its own
    small = maps[:, :PIXELS]
    assert torch.equal(sampled("stage2_block1", 4, small), small.flatten(0, 1))
    before = torch.get_rng_state()
    sampled("stage2_block1", 4, maps)
    assert torch.equal(before, torch.get_rng_state())


def test_divergence_is_kullback_and_leiblers_from_the_first():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 7, 5, generator=generator)
    p, q = a.softmax(1), b.softmax(1)
    assert divergence(a, b) == pytest.approx((p * (p / q).log()).sum(1).mean().item(), rel=1e-5)
    assert divergence(a, a + 3) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_score_is_what_the_network_answers_with_that_block_alone_replaced(name, tmp_path):
    arch = NETWORKS[name]
    net, x = made_network(arch), pictures(arch, 60, 9)
    space = space_of(arch, tmp_path)
    table = table_of(net, space, arch.resolution, batches_of(x))
    assert list(table) == [place_of(key) for key in replacement_rows(space, arch.resolution)]
    modules = dict(net.named_children())
    rows = {row.place: row for row in operators(arch)}
    with torch.no_grad():
        before = net(x)
        assert torch.equal(before, net(x))
        for place, found in table.items():
            labels = replacement_rows(space, arch.resolution)
            (known,) = (rows_ for key, rows_ in labels.items() if place_of(key) == place)
            wanted = {row and row.layers for row in known.values()}
            assert {r.row and r.row.layers for r in found} == wanted
            assert (None in wanted) == rows[place].residual
            for one in found:
                if one.row and one.row.layers == rows[place].layers:
                    assert (one.score, one.module) == (0.0, modules[place])
                    continue
                changed = [
                    one.module if own == place else m
                    for own, m in modules.items()
                    if own != place or one.module
                ]
                after = torch.nn.Sequential(*changed)(x)
                expected = F.kl_div(after.log_softmax(1), before.softmax(1), reduction="batchmean")
                assert one.score == pytest.approx(expected.item(), rel=1e-3, abs=1e-5)
    assert all(net.get_submodule(k) is m for k, m in modules.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_block_is_studied_and_scored_alike_alone_or_with_others(name, tmp_path):
    """As after a study that was killed."""
    arch = NETWORKS[name]
    net, images = made_network(arch), batches_of(pictures(arch, 60, 9))
    space = space_of(arch, tmp_path)
    all_ = table_of(net, space, arch.resolution, images)
    rows = replacement_rows(space, arch.resolution)
    key = list(rows)[len(rows) // 2]
    wanted = {place_of(key): [row for row in rows[key].values() if row]}
    whole = at_resolution(space, arch.resolution)
    ((place, found),) = score_blocks(net, study_blocks(net, whole, wanted, images), images)
    assert place == place_of(key)
    for one, other in zip(found, all_[place], strict=True):
        assert (one.row, one.score) == (other.row, other.score)
        if one.module:
            pairs = zip(
                one.module.state_dict().values(), other.module.state_dict().values(), strict=True
            )
            assert all(torch.equal(a, b) for a, b in pairs)


def test_studying_leaves_the_network_and_the_grad_mode_as_they_were(tmp_path):
    arch = NETWORKS["mobilenet_v3"]
    net = made_network(arch)
    before = {k: t.clone() for k, t in net.state_dict().items()}
    table_of(net, space_of(arch, tmp_path), arch.resolution, batches_of(pictures(arch, 40, 9)))
    assert all(torch.equal(before[k], t) for k, t in net.state_dict().items())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
