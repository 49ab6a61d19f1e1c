"""Published weights: every library's names, real weights to the last digit, and what is refused."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import needs_shared, reference
from PIL import Image
from published_records import our_name, records
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.core.errors import UserError
from nas.network.modules import Network, build
from nas.network.pretrained import PRETRAINED, fetch_pretrained
from nas.network.weight_files import read_weights
from nas.network.weights import for_channels, load_weights
from search_spaces.lookup import PUBLISHED

LISTED = [(n, r["state_dict"]) for n, r in records() if r.get("state_dict")]
FACTS = reference("lite_pretrained")
SMALL = replace(PUBLISHED["mobilenet_v2_0.35"], classes=10)


def allocated(arch: Arch) -> Network:
    """`arch` without initial weights, which take longer than all the rest."""
    with torch.device("meta"):
        net = build(arch)
    return net.to_empty(device="cpu").eval()


def weights_of(net: Network) -> dict[str, Tensor]:
    """The state in order of execution, without the counters that published lists leave out."""
    return {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def renamed(net: Network, listed: list[str], rng: random.Random) -> dict[str, Tensor]:
    """The weights of `net` under a library's names and shapes, in a random order."""
    pairs = list(zip(listed, weights_of(net).values(), strict=True))
    rng.shuffle(pairs)
    return {
        key: value.reshape([int(n) for n in shape.split("x")])
        for (key, shape), value in ((text.split(":"), value) for text, value in pairs)
    }


def logits(net: Network, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return net.eval()(x)


def said(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# -- names and order -----------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize(("source", "listed"), LISTED, ids=lambda v: v if ":" in v else "")
def test_every_listed_file_finds_its_place(source, listed):
    net = allocated(PUBLISHED[our_name(source)])
    state = {}
    for i, text in sorted(enumerate(listed), key=lambda item: item[1]):
        key, shape = text.split(":")
        state[key] = torch.tensor(float(i)).expand([int(n) for n in shape.split("x")])
    assert load_weights(net, state) == ()
    for i, value in enumerate(weights_of(net).values()):
        assert value.flatten()[0] == value.flatten()[-1] == i


@needs_shared
def test_every_library_is_among_the_listed_files():
    libraries = {"torchvision", "timm", "efficientnet_lite_pytorch"}
    assert {n.partition(":")[0] for n, _ in LISTED} == libraries
    assert len(LISTED) == 46


@needs_shared
@pytest.mark.parametrize(
    "source",
    [
        "torchvision:mobilenet_v2", "timm:mobilenetv3_small_100", "torchvision:mobilenet_v3_small",
        "timm:semnasnet_100", "torchvision:mnasnet1_0",
        "efficientnet_lite_pytorch:efficientnet-lite0",
    ],
)  # fmt: skip
def test_weights_under_other_names_give_the_same_logits(source, rng):
    arch = PUBLISHED[our_name(source).removeprefix("tf_")]  # V3's tail: linear from a 1x1 too
    net, other = build(arch, seed=1), build(arch, seed=2)
    x = torch.randn(2, 3, 64, 64)
    assert not torch.equal(logits(net, x), logits(other, x))
    assert load_weights(other, renamed(net, dict(LISTED)[source], rng)) == ()
    assert torch.equal(logits(net, x), logits(other, x))


def efficientnet_pytorch(net: Network) -> dict[str, Tensor]:
    """The names of efficientnet_pytorch, with squeeze-and-excitation, by our own names."""
    parts = {
        "expand.conv": "_expand_conv", "expand.bn": "_bn0", "depthwise.conv": "_depthwise_conv",
        "depthwise.bn": "_bn1", "se.reduce": "_se_reduce", "se.expand": "_se_expand",
        "project.conv": "_project_conv", "project.bn": "_bn2",
    }  # fmt: skip
    ends = {
        "stem.conv.conv": "_conv_stem", "stem.conv.bn": "_bn0", "head.conv.conv": "_conv_head",
        "head.conv.bn": "_bn1", "classifier.linear.linear": "_fc",
    }  # fmt: skip
    rows = [name for name, _ in net.named_children() if name.startswith("stage")]
    names = {}
    for key in net.state_dict():
        module, _, tensor = key.rpartition(".")
        row, _, part = module.partition(".")
        own = f"_blocks.{rows.index(row)}.{parts[part]}" if row in rows else ends[module]
        names[f"{own}.{tensor}"] = net.state_dict()[key]
    return names


@needs_shared
def test_efficientnet_pytorchs_names_are_its_own_and_load(rng):
    net, other = (build(PUBLISHED["tf_efficientnet_b0"], seed=s) for s in (1, 2))
    state = efficientnet_pytorch(net)
    record = reference("efficientnet")["models"]["efficientnet_pytorch:efficientnet-b0"]
    text = json.dumps(list(state), separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == record["sd_keys_hash"]
    keys = rng.sample(list(state), len(state))
    assert load_weights(other, {key: state[key] for key in keys}) == ()
    assert equal(net, other)


def equal(net: Network, other: Network) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v1_0.25", "efficientnet_b0"])
def test_our_own_state_loads_in_any_order(name, rng):
    net, other = (build(PUBLISHED[name], seed=s) for s in (1, 2))
    net(torch.randn(2, 3, 64, 64))  # statistics and counters of their own
    state = net.state_dict()
    assert load_weights(other, {k: state[k] for k in rng.sample(list(state), len(state))}) == ()
    assert equal(net, other)


# -- other classes and channels ------------------------------------------------------------------


def test_for_another_number_of_classes_the_classifier_begins_at_zero():
    state = build(SMALL, seed=1).state_dict()
    net = build(replace(SMALL, classes=7), seed=2)
    assert load_weights(net, state) == ("classifier",)
    assert not net.classifier.linear.linear.weight.any()
    assert not net.classifier.linear.linear.bias.any()
    assert torch.equal(net.head.conv.conv.weight, state["head.conv.conv.weight"])


def test_a_grey_stem_answers_as_the_colour_stem_does_to_equal_channels():
    colour = build(SMALL, seed=1).double()
    grey = build(replace(SMALL, channels=1), seed=2).double()
    assert load_weights(grey, colour.state_dict()) == ()
    x = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    want = logits(colour, x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(logits(grey, x), want)
    back = build(SMALL, seed=3).double()
    load_weights(back, grey.state_dict())
    torch.testing.assert_close(logits(back, x.expand(-1, 3, -1, -1)), want)


@pytest.mark.parametrize("channels", range(1, 7))
def test_a_stem_for_any_channels_answers_equal_ones_as_that_for_three(channels):
    weight, x = torch.randn(8, 3, 3, 3), torch.randn(2, 1, 8, 8)
    made = for_channels(weight, channels)
    want = nn.functional.conv2d(x.expand(-1, 3, -1, -1), weight)
    found = nn.functional.conv2d(x.expand(-1, channels, -1, -1), made)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)
    if channels == 6:
        torch.testing.assert_close(made, weight.repeat(1, 2, 1, 1) / 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v2_1.4", r"stem.conv.conv holds 48x3x3x3 where stem.conv.conv has 16x3x3x3"),
        ("mobilenet_v2_0.5", r"holds 16x48x1x1 where stage2_block1.project.conv has 8x48x1x1"),
        ("mobilenet_v3_small", r"stage1_block1.se.reduce holds 8x16x1x1 and a bias where "),
    ],
)
def test_another_network_is_refused_and_nothing_is_loaded(name, message):
    net, same = (build(SMALL, seed=1) for _ in range(2))
    with pytest.raises(UserError, match=message) as error:
        load_weights(net, build(PUBLISHED[name], seed=2).state_dict())
    assert "the network that it was made for" in said(error)
    assert equal(net, same)


def test_a_file_too_short_or_too_long_is_refused():
    net, longer = build(SMALL, seed=1), build(replace(SMALL, classes=7), seed=2)
    state = build(SMALL, seed=1).state_dict()
    short = {k: v for k, v in state.items() if not k.startswith("classifier")}
    with pytest.raises(UserError, match=r"end holds nothing where classifier\S+ has 10x1280 a"):
        load_weights(net, short)
    longer.classifier.add_module("more", nn.Linear(7, 7))
    with pytest.raises(UserError, match=r"the file goes on with classifier.1 where the") as error:
        load_weights(net, {k.replace("linear.linear", "0").replace("more", "1"): v
                   for k, v in longer.state_dict().items()})  # fmt: skip
    said(error)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match=r"\(conv1, fc, layer1\) are named as in no library") as e:
        load_weights(
            build(SMALL), {f"{m}.weight": torch.ones(1) for m in ("layer1.0", "conv1", "fc")}
        )
    said(e)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
    ],
)
def test_files_are_read_through_their_wrapping(wrap, tmp_path):
    state = {"a.weight": torch.randn(3), "b.bias": torch.ones(2)}
    torch.save(wrap(state), tmp_path / "w.pth")
    found = read_weights(str(tmp_path / "w.pth"))
    assert list(found) == list(state)
    assert all(torch.equal(found[k], state[k]) for k in state)


def test_a_damaged_file_gets_one_line(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save(build(SMALL).state_dict(), whole)
    data = whole.read_bytes()
    damaged = [b"", b"not weights", data[: len(data) // 2], data[:40], b"\x80" + data[1:]]
    for i, content in enumerate(damaged):
        path = tmp_path / f"{i}.pth"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read as weights .*bring the file") as error:
            read_weights(path)
        said(error)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"a": Harmful()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"cannot be read as weights \(UnpicklingError\)"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [{}, {"a": 1}, torch.ones(2), {"state_dict": {}}, {3: "x"}])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no state dict") as error:
        read_weights(tmp_path / "w.pth")
    said(error)


def test_a_missing_file_and_a_missing_package_get_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no file of weights .*none.pth: give a .pth"):
        read_weights(tmp_path / "none.pth")
    (tmp_path / "w.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(UserError, match=r"w.safetensors needs a package: pip install safetensors"):
        read_weights(tmp_path / "w.safetensors")


def test_safetensors_are_read(tmp_path):
    library = pytest.importorskip("safetensors.torch", reason="needs the package safetensors")
    state = build(SMALL, seed=1).state_dict()
    library.save_file(state, tmp_path / "w.safetensors")
    net = build(SMALL, seed=2)
    assert load_weights(net, read_weights(tmp_path / "w.safetensors")) == ()
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    (tmp_path / "w.safetensors").write_bytes(b"\x08" + bytes(20))
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_weights(tmp_path / "w.safetensors")


# -- real weights --------------------------------------------------------------------------------


def photograph(name: str) -> np.ndarray:
    """A photograph of scikit-image, (H, W, 3) uint8, read without importing that package."""
    spec = find_spec("skimage")
    if spec is None:
        pytest.skip("needs the photographs of the package scikit-image")
    (folder,) = spec.submodule_search_locations
    (path,) = (Path(folder) / "data").glob(f"{name}.*")
    return np.asarray(Image.open(path))


@needs_shared
@pytest.mark.parametrize("image", ["chelsea", "coffee", "rocket", "astronaut"])
@pytest.mark.parametrize("name", ["lite0", "lite1"])
def test_real_weights_answer_as_published(name, image):
    entry = PRETRAINED[f"tf_efficientnet_{name}"]
    if find_spec(entry.package) is None:
        pytest.skip(f"needs the package {entry.package}")
    facts, path = FACTS["models"][name], fetch_pretrained(entry.name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == facts["file_sha256"]
    net = allocated(PUBLISHED[entry.name])
    assert load_weights(net, read_weights(path)) == ()
    pixels, side = photograph(image), entry.resolution
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == FACTS["images"][image]["sha256_uint8"]
    top, left = ((n - side) // 2 for n in pixels.shape[:2])
    crop = torch.from_numpy(pixels[top : top + side, left : left + side].copy())
    x = ((crop.double() / 255 - torch.tensor(entry.mean)) / torch.tensor(entry.std)).float()
    found = logits(net, x.permute(2, 0, 1)[None])[0]
    want = facts["results"][f"{image}/raw_center"]
    np.testing.assert_allclose(found, want["logits"], atol=1e-4)
    assert found.topk(5).indices.tolist() == [row[0] for row in want["top5"]]


@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.", "net.model."])
def test_names_behind_a_wrapper_are_understood(prefix):
    state = build(SMALL, seed=1).state_dict()
    net = build(SMALL, seed=2)
    assert load_weights(net, {prefix + key: state[key] for key in sorted(state)}) == ()
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
