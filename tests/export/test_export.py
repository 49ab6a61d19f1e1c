"""The export command: what it writes, what it says of it, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from PIL import Image, ImageOps

import nas.export
import nas.tasks
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.serialization import dumps
from nas.core.cli import main
from nas.core.errors import UserError
from nas.data.decoding import decode, decode_whole
from nas.export.__main__ import ABOUT, run
from nas.export.code import (
    ANSWERS,
    BYTES,
    COLOURS,
    NORMALISED,
    PICTURE,
    _facts,
    _normalised,
)
from nas.export.formats.registry import FORMATS
from nas.export.model_card import _origin
from nas.export.report import remarks
from nas.export.run import export, kinds_here
from nas.export.settings import ExportSettings
from nas.export.setup import find_files
from nas.train.run import train
from nas.train.settings import TrainSettings
from nas.train.setup import open_run as open_training
from nas.training.first_weights import first_weights

SMALL = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=1, classes=10)
HSWISH = Arch(
    (Stage(16, 2, 2, Block(act="hswish", se=0.25, se_gate="hsigmoid")),),
    Stem(8, act="hswish"), Head(32), resolution=20, channels=1, classes=10,
)  # fmt: skip
FEW = ("data.train=600", "data.val=100", "data.test=200", "measure=false", "budget.epochs=4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A results folder with two trained networks."""
    folder = tmp_path_factory.mktemp("trained")
    for name, arch in (("hswish", HSWISH), ("small", SMALL)):
        path = folder / f"{name}.yaml"
        path.write_text(dumps(arch))
        train(TrainSettings.of(f"arch={path}", f"run={name}", *FEW, f"results={folder}"))
    return folder


@pytest.fixture
def results(trained, tmp_path):
    shutil.copytree(trained / "train", tmp_path / "train")
    return tmp_path


def exported(results, *words):
    summary = export(ExportSettings.of(f"results={results}", *words))
    return summary, {row["name"]: row for row in summary["rows"]}


def test_the_newest_training_is_exported_and_described(results):
    summary, rows = exported(results)
    folder = results / "export" / "small"
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "model_int8.onnx", "model.md", "summary.json", "environment.json",
        "classes.csv", "config.yaml", "facts.json", "network.yaml", ".lock",
    }  # fmt: skip
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert rows["onnx"]["agreement"] == 1
    assert rows["onnx"]["relative_difference"] < 1e-3
    assert rows["onnx"]["times_float"] == 1
    assert rows["onnx_int8"]["agreement"] > 0.8
    assert rows["onnx_int8"]["bytes"] == (folder / "model_int8.onnx").stat().st_size
    assert rows["onnx"]["accuracy"] == summary["accuracy"]
    by_class = pd.read_csv(folder / "classes.csv")
    assert by_class["images"].sum() == 200
    right = (by_class["accuracy"] * by_class["images"]).sum() / 200
    assert right == pytest.approx(summary["accuracy"])
    theirs = json.loads((results / "train" / "small" / "summary.json").read_text())
    assert summary["accuracy"] == pytest.approx(theirs["test"]["accuracy"], abs=0.011)


def test_nothing_of_another_network_stays_in_the_folder(results):
    exported(results, "to=[onnx,onnx_int8]", "qat=true", "budget.epochs=1", "run=both")
    folder = results / "export" / "both"
    exported(results, f"arch={results / 'train' / 'hswish'}", "to=[onnx]", "run=both")
    assert {path.name for path in folder.glob("*.onnx")} == {"model.onnx"}
    assert not list(folder.glob("*.pt"))
    facts = {p.key: p.value for p in onnx.load(folder / "model.onnx").metadata_props}
    assert facts["network_id"] == json.loads((folder / "summary.json").read_text())["id"]


def test_what_a_runtime_refuses_leaves_the_earlier_export(results, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert, which is not installed")
    exported(results, "to=[onnx_int8]")
    folder = results / "export" / "small"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = replace(FORMATS["litert"], write=lambda source: (b"no model",))
    monkeypatch.setitem(FORMATS, "litert", other)
    with pytest.raises(UserError, match=r"LiteRT refuses model\.tflite \(.*\): leave it out"):
        exported(results, "to=[litert]", f"arch={results / 'train' / 'small'}")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_of_another_network_are_refused(results):
    small, other = results / "train" / "small", results / "train" / "hswish" / "weights.pt"
    with pytest.raises(UserError, match="holds weights of another network"):
        exported(results, f"arch={small}", f"weights={other}")
    assert not (results / "export").exists()


def test_a_training_begun_anew_makes_no_old_network_look_unseen(results):
    """It writes config.yaml first and the network last; a summary tells of the old network."""
    small = results / "train" / "small"
    (small / "checkpoint.pt").unlink(missing_ok=True)
    (results / "small.yaml").write_text(dumps(SMALL))
    words = (f"arch={results / 'small.yaml'}", "run=small", *FEW, f"results={results}")
    with open_training(TrainSettings.of(*words, "data.seed=1")) as run:
        fingerprint = run.data.fingerprint
    assert fingerprint in (small / "config.yaml").read_text()
    summary, _ = exported(results, f"arch={small}")
    assert not summary["same_data"]


def test_images_that_changed_since_are_told(results, capsys):
    small = results / "train" / "small"
    config = (small / "config.yaml").read_text()
    (small / "config.yaml").write_text(config.replace("train: 600", "train: 590"))
    summary, _ = exported(results, f"arch={small}")
    assert not summary["same_data"]
    assert "not those of the training any more" in capsys.readouterr().out
    card = (results / "export" / "small" / "model.md").read_text()
    assert "no decision saw" not in card
    assert "Trained on 600 images" in card


def test_a_network_of_a_search_has_a_folder_of_its_own(results):
    small, run = results / "train" / "small", results / "search" / "mine"
    (run / "front").mkdir(parents=True)
    shutil.copy(small / "config.yaml", run)
    (run / "summary.json").write_text('{"images": [600, 100, 200]}')  # as a search writes them
    for name in ("winner", "front/02"):
        for end, file in (
            (".yaml", "network.yaml"),
            (".pt", "weights.pt"),
            (".onnx", "model.onnx"),
        ):
            shutil.copy(small / file, run / f"{name}{end}")
    exported(results, f"arch={run}")
    card = (results / "export" / "mine-winner" / "model.md").read_text()
    assert "Trained on 600 images" in card
    exported(results, f"arch={run / 'front' / '02.yaml'}")
    names = {path.name for path in (results / "export").iterdir()}
    assert names == {"mine-winner", "mine-02"}
    (run / "winner.pt").unlink()
    with pytest.raises(UserError, match="train it first"):
        exported(results, f"arch={run}")


def test_metadata_stay_in_every_onnx_file(results):
    exported(results)
    left = onnx.load(results / "train" / "small" / "model.onnx")
    expected = {entry.key: entry.value for entry in left.metadata_props}
    for name in ("model.onnx", "model_int8.onnx"):
        model = onnx.load(results / "export" / "small" / name)
        found = {entry.key: entry.value for entry in model.metadata_props}
        assert found.items() >= expected.items()


def turned_and_clear(folder):
    """turned.png, which EXIF turns by a quarter, and clear.png, parts of which are transparent."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(rng.integers(0, 256, (32, 20, 3), np.uint8))
    turned.save(folder / "turned.png", exif=exif)
    clear = Image.fromarray(rng.integers(0, 256, (24, 24, 4), np.uint8))
    clear.save(folder / "clear.png")


def test_code_of_card_and_guide_prepares_pictures_as_training_does(tmp_path):
    """Turned by EXIF, transparency on white: what the files get is what `decode` makes."""
    turned_and_clear(tmp_path)
    guide = (Path(nas.export.__file__).parent / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1]
    lines = code[code.index("picture = ImageOps.exif") : code.index("image = (")]
    card = PICTURE[PICTURE.index("picture = ImageOps.exif") :] + BYTES
    card = card.format(colours=COLOURS.format(mode="RGB"), side=16, channels=3)
    for name in ("turned.png", "clear.png"):
        known = {"picture": tmp_path / name, "side": 16, "low": 0, "high": 255}
        known |= {"facts": {"mean": [0] * 3}, "Image": Image, "ImageOps": ImageOps, "numpy": np}
        exec(lines, known)
        mine = known["values"][0].astype(int)
        exec(card.replace('"picture.jpg"', repr(str(tmp_path / name))), known)
        assert np.array_equal(known["image"][0], mine)
        theirs = decode(tmp_path / name, 16).transpose(1, 2, 0).astype(int)
        assert abs(mine - theirs).max() <= 1


def test_code_of_card_and_guide_clips_deep_pictures_as_training_does(tmp_path):
    """NaN, what stands for no data, and what is too bright become the ends of the range."""
    guide = (Path(nas.export.__file__).parent / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1]
    lines = code[code.index("picture = ImageOps.exif") : code.index("if model.suffix")]
    facts = {"mean": "[0.5]", "std": "[0.25]", "range": "[1000.0, 4000.0]"}
    run = SimpleNamespace(facts=facts, arch=SimpleNamespace(resolution=16, channels=1), classes=[])
    told = _facts(run, {"file": ""})
    card = PICTURE[PICTURE.index("picture = ImageOps.exif") :] + NORMALISED
    assert "values clipped to 1000 to 4000, NaN the lowest" in _normalised(run, told)
    for value in (np.nan, -9999, 99999):
        pixels = np.random.default_rng(0).uniform(2000, 3000, (20, 24)).astype(np.float32)
        pixels[9:12, 9:12] = value
        Image.fromarray(pixels).save(tmp_path / "deep.tif")
        known = {"Image": Image, "ImageOps": ImageOps, "numpy": np, "side": 16}
        known |= {"low": 1000, "high": 4000, "picture": tmp_path / "deep.tif"}
        exec(lines, known | {"facts": {"mean": [0.5], "std": [0.25]}}, mine := {})
        known |= {"mean": [0.5], "std": [0.25]}
        exec(card.format(**told).replace("picture.jpg", str(tmp_path / "deep.tif")), known)
        theirs = decode(tmp_path / "deep.tif", 16, (1000, 4000))[:1] / 255
        off = (known["image"] - (theirs - 0.5) / 0.25)[0, 0]
        assert abs(off).max() < 0.05  # a step of 8 bits is 0.016
        assert np.allclose(mine["image"][0, ..., 0], known["image"][0, 0])


def test_code_of_the_card_has_every_digit_of_a_range():
    facts = {"range": "[1234567.0, 1234890.5]"}
    run = SimpleNamespace(facts=facts, arch=SimpleNamespace(resolution=16, channels=1), classes=[])
    told = _facts(run, {"file": ""})
    assert (told["low"], told["high"], told["span"]) == ("1234567", "1234890.5", "323.5")


def test_code_for_boxes_and_masks_prepares_pictures_as_training_does(tmp_path):
    """Of the card and of the guide: upright, transparency on white, the whole squeezed."""
    turned_and_clear(tmp_path)
    guide = (Path(nas.tasks.__file__).parent / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1]
    card = ANSWERS.format(colours=COLOURS.format(mode="RGB"), names="")
    for lines in (code, card):
        lines = lines[lines.index("picture = ") : lines.index("image = ((")]
        for name in ("turned.png", "clear.png"):
            known = {"Image": Image, "ImageOps": ImageOps, "side": 16}
            exec(lines.replace('"picture.jpg"', repr(str(tmp_path / name))), known)
            theirs = decode_whole(tmp_path / name, 16, upright=True).pixels.transpose(1, 2, 0)
            assert abs(np.array(known["picture"]).astype(int) - theirs).max() <= 1


def test_the_card_s_python_answers_as_the_table_says(results, monkeypatch, capsys):
    """Run as it stands there, in a folder that holds the file and a picture."""
    for words in ((), ("preprocess=true", "batch=free")):
        exported(results, *words)
        folder = results / "export" / "small"
        card = (folder / "model.md").read_text()
        code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
        picture = np.random.default_rng(0).integers(0, 256, (30, 20), np.uint8)
        Image.fromarray(picture).save(folder / "picture.jpg", quality=100)
        monkeypatch.chdir(folder)
        exec(code, {})
        said = capsys.readouterr().out.strip().splitlines()[-1]
        assert said in pd.read_csv(folder / "classes.csv")["class"].tolist()


def test_bytes_go_in_and_the_batch_is_free(results):
    _, plain = exported(results)
    _, rows = exported(results, "preprocess=true", "batch=free")
    session = onnxruntime.InferenceSession(results / "export" / "small" / "model_int8.onnx")
    given = session.get_inputs()[0]
    assert given.type == "tensor(uint8)"
    assert given.shape == ["batch", 20, 20, 1]
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 1), np.uint8)
    logits = session.run(None, {"image": images})[0]
    assert logits.shape == (3, 10)
    alone = [session.run(None, {"image": image[None]})[0][0] for image in images]
    assert np.allclose(logits, alone, atol=1e-5)
    assert rows["onnx"]["relative_difference"] < 1e-3
    assert rows["onnx"]["accuracy"] == pytest.approx(plain["onnx"]["accuracy"], abs=0.011)


def test_training_on_with_rounding_is_shown_beside(results):
    _, rows = exported(results, "qat=true", "budget.epochs=1")
    assert list(rows) == ["onnx", "onnx_int8", "onnx_int8_qat"]
    folder = results / "export" / "small"
    assert (folder / "weights_qat.pt").is_file()
    before = (folder / "model_int8_qat.onnx").read_bytes()
    _, again = exported(results, "qat=true", "budget.epochs=1")  # goes on from its last epoch
    assert (folder / "model_int8_qat.onnx").read_bytes() == before
    assert again["onnx_int8_qat"]["accuracy"] == rows["onnx_int8_qat"]["accuracy"]
    told = first_weights("none", str(folder / "weights_qat.pt")).stats(SimpleNamespace(channels=1))
    facts = json.loads((folder / "facts.json").read_text())
    assert ([*told.mean], [*told.std]) == (facts["mean"], facts["std"])
    words = [f"arch={results / 'train' / 'small'}", f"weights={folder / 'weights_qat.pt'}"]
    exported(results, *words)
    assert (folder / "weights_qat.pt").is_file()
    with pytest.raises(UserError, match="would begin with: give another run="):
        exported(results, *words, "qat=true")
    assert (folder / "weights_qat.pt").is_file()


def test_formats_without_their_package_are_left_out(results, monkeypatch, capsys):
    monkeypatch.setattr("nas.export.run.find_spec", lambda name: name == "onnxruntime" or None)
    summary, rows = exported(results, "to=[openvino,onnx_int8]")
    assert list(rows) == ["onnx", "onnx_int8"]
    assert summary["missing"] == {"openvino": "openvino"}
    assert "left out  openvino: pip install openvino" in capsys.readouterr().out


def test_nothing_is_trained_on_without_an_8_bit_runtime(monkeypatch):
    monkeypatch.setattr("nas.export.run.find_spec", lambda name: name == "onnxruntime" or None)
    eight = ExportSettings.of("to=[onnx,litert_int8,executorch_int8]", "qat=true")
    with pytest.raises(UserError, match="is here: pip install ai-edge-litert executorch first"):
        kinds_here(eight)
    kinds, missing = kinds_here(ExportSettings.of("to=[litert_int8,onnx_int8]", "qat=true"))
    assert [kind.name for kind in kinds] == ["onnx", "onnx_int8"]
    assert missing == {"litert_int8": "ai-edge-litert"}


@pytest.mark.parametrize("name", ["executorch", "litert", "openvino"])
def test_other_runtimes_answer_alike(name, results):
    if find_spec(FORMATS[name].package) is None:
        pytest.skip(f"needs {name}, which is not installed")
    eight = [f"{name}_int8"] if f"{name}_int8" in FORMATS else []
    _, rows = exported(results, f"to=[{','.join([name, *eight])}]")
    assert rows[name]["relative_difference"] < 1e-3
    assert rows[name]["agreement"] == 1
    assert all(rows[kind]["agreement"] > 0.8 for kind in eight)


def test_the_guide_s_script_runs_the_files_without_this_package(results, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert, which is not installed")
    _, rows = exported(results, "to=[onnx_int8,litert,litert_int8]")
    guide = (Path(nas.export.__file__).parent / "README.md").read_text()
    script = tmp_path / "classify.py"
    script.write_text(re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1])
    assert "nas" not in script.read_text()
    picture = np.random.default_rng(0).integers(0, 256, (24, 30), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    folder, said = results / "export" / "small", {}
    for row in rows.values():
        words = [sys.executable, str(script), str(folder / row["file"]), "picture.png"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        said[row["name"]] = done.stdout.strip().splitlines()[-1]
    assert said["litert"] == said["onnx"]
    assert set(said.values()) <= set(json.loads((folder / "facts.json").read_text())["classes"])


def test_what_8_bits_do_not_help_is_said(results, capsys, monkeypatch):
    slower = {"onnx": 1.0, "onnx_int8": 2.0}
    monkeypatch.setattr("nas.export.run.time_together", lambda files, image: {
        name: Timed(slower[name]) for name in files
    })  # fmt: skip
    exported(results, f"arch={results / 'train' / 'hswish'}")
    assert (
        "model_int8.onnx is slower than model.onnx here: ONNX Runtime has no 8-bit"
        in capsys.readouterr().out
    )


def a_row(name, interval=(1.0, 1.0), **other):
    known = {"name": name, "file": name, "precision": "int8" if "int8" in name else "float32"}
    known |= {"agreement": 1.0, "relative_difference": 0.0, "largest_difference": 0.0}
    return known | {"latency_ms": sum(interval) / 2, "latency_interval_ms": interval} | other


@pytest.mark.parametrize(("rows", "texts"), [
    ([a_row("a"), a_row("b", relative_difference=None)], []),
    ([a_row("a", relative_difference=np.nan)], ["a answers otherwise"]),
    ([a_row("a", agreement=0.9)], ["a gives 10.0% of the images another class"]),
    ([a_row("a_int8", agreement=0.9)], ["a_int8 gives 10.0% of the images another class: qat"]),
    ([a_row("a", (1.0, 1.2)), a_row("a_int8", (1.1, 1.3))], []),  # not told from it
    ([a_row("a", (1.0, 1.2)), a_row("a_int8", (1.3, 1.4))], ["a_int8 is slower than a here"]),
])  # fmt: skip
def test_what_is_remarked_of_files(rows, texts):
    settings = SimpleNamespace(qat=False)
    run = SimpleNamespace(is_same_data=True, task=None, settings=settings, arch=SMALL)
    found = [text for _, text in remarks(run, rows, {})]
    assert len(found) == len(texts)
    assert all(text.startswith(start) for text, start in zip(found, texts, strict=True))


def test_other_weights_are_offered_where_they_can_be_used(tmp_path):
    (tmp_path / "winner.yaml").write_text(dumps(SMALL))
    settings = ExportSettings.of(f"arch={tmp_path / 'winner.yaml'}")
    with pytest.raises(UserError, match=r"train it first, .* arch=\S*winner.yaml$"):
        find_files(settings)
    (tmp_path / "winner.onnx").touch()
    with pytest.raises(UserError, match=r"train it first, .*, or give weights=$"):
        find_files(settings)


class Timed:
    def __init__(self, ms):
        self.median_ms = self.ci_low_ms = self.ci_high_ms = ms
        self.noisy = False


@pytest.mark.parametrize(("words", "message"), [
    (["to=[]"], "to=[] asks for nothing"),
    (["to=[coreml]"], "unknown to 'coreml'"),
    (["qat=true", "to=[onnx]"], "qat=true is for 8-bit files"),
    (["weights=w.pt"], "weights= is of a network"),
    (["budget.epochs=5"], "budget= is of training on, and nothing is trained: give qat=true too"),
    (["budget=quick"], "budget= is of training on, and nothing is trained: give qat=true too"),
    (["calibration=64", "to=[onnx,litert]"], "calibration=64 is for 8-bit files: add one to to="),
    (["batch=4"], "unknown batch '4'"),
    (["run=a/b"], "run must be a name of letters, digits, "),
    (["arch=absent"], "there is no file or folder arch=absent"),
    (["arch=train/small/summary.json"], "lacks train/small/summary.pt"),
    (["results=empty"], "there is no trained network in empty/train"),
    (["preprocess=perhaps"], "preprocess must be true or false"),
])  # fmt: skip
def test_a_mistake_is_one_line(words, message, results, monkeypatch, capsys):
    monkeypatch.chdir(results)
    given = words if "results=empty" in words else [*words, "results=."]
    monkeypatch.setattr(sys, "argv", ["export", *given])
    with pytest.raises(SystemExit) as stopped:
        main("export", ABOUT, run)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not list(results.glob("export/*/model*"))


def test_files_that_do_not_belong_together_are_refused(results):
    small, other = results / "train" / "small", results / "train" / "hswish"
    (small / "model.onnx").write_bytes((other / "model.onnx").read_bytes())
    with pytest.raises(UserError, match="is not of the network beside it"):
        exported(results, f"arch={small}")
    (small / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is no ONNX model"):
        exported(results, f"arch={small}")


def test_a_network_and_its_weights_can_be_named(results):
    small = results / "train" / "small"
    moved = results / "mine.pt"
    (small / "weights.pt").rename(moved)
    _, rows = exported(results, f"arch={small / 'network.yaml'}", f"weights={moved}", "run=mine")
    assert rows["onnx"]["agreement"] == 1
    assert (results / "export" / "mine" / "model.md").is_file()


@pytest.mark.parametrize(("config", "words"), [
    ({"arch": None, "choices": {"weights": "none"}}, "none, it was trained from scratch"),
    ({"arch": "mobilenet_v2", "choices": {"weights": "pretrained"}}, "licence BSD-3-Clause"),
    ({"arch": "mobilenet_v2_1.0_96", "choices": {"weights": "pretrained"}}, "licence BSD-3-Clause"),
    ({"arch": "tf_efficientnet_lite0_128", "weights": {"path": None}}, "licence Apache-2.0"),
    ({"arch": "tf_efficientnet_lite0", "weights": {"path": None}}, "licence Apache-2.0"),
    ({"arch": "mobilenet_v2", "weights": {"path": "mine.pt"}}, "a file of yours"),
    ({"arch": "mine.yaml", "choices": {"weights": "file"}}, "a file of yours"),
])  # fmt: skip
def test_the_card_names_the_licence_of_the_first_weights(config, words):
    assert words in _origin(SimpleNamespace(config=config))
