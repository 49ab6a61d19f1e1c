"""Commands as a user types them: help at once, and one line with exit code 2 for a mistake."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from settings_of import SETTINGS

from nas.core.cli import CONF, PLAIN_SIGNS, help_text, main, options, print_any_letter
from nas.core.config import compose
from nas.core.errors import UserError


def settings_of(name: str) -> set[str]:
    return {field.name for field in fields(SETTINGS[name])}


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("name", sorted(p.stem for p in CONF.glob("*.yaml")))
def test_help_names_every_setting_and_imports_nothing_heavy(name, tmp_path):
    heavy = "torch optuna pandas plotly hydra onnxruntime scipy"
    script = (
        f"import sys, runpy; sys.argv = ['nas.{name}', '--help']\n"
        f"runpy.run_module('nas.{name}', run_name='__main__', alter_sys=True)\n"
        f"print('HEAVY', [m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert f"usage: python -m nas.{name}" in done.stdout
    assert done.stdout.strip().endswith("HEAVY []")
    for setting in settings_of(name):
        assert setting in done.stdout


WRONG = [
    ("search", ["space=mbcnv"], "unknown space 'mbcnv'; did you mean mbconv?"),
    ("search", ["space=a,b"], "unknown space 'a,b'"),
    ("search", ["seed=1,2"], "seed must be a whole number from 0, not '1,2' (one value; a comma"),
    ("search", ["results=null"], "results must be text, not null"),
    ("search", ["data.root="], "data.root is given nothing"),
    ("search", ["data=folder", "data.max_unreadable=5"], "must be a number from 0 to 1, not 5"),
    ("search", ["weights.path=a.pt"], "weights.path=a.pt needs weights=file"),
    ("search", ["weights=pretrained", "arch=mobilenet_v2", "width=0.5"], "width=0.5 does not go"),
    ("search", ["sampler=tpe", "+sampler.seed=3"], "give that"),
    ("search", ["sampler=tpe", "+sampler.gamma=abc"], "sampler.gamma is no text for Optuna"),
    ("search", ["latency=command"], "latency.command must be given: latency.command=..."),
    ("search", ["trials=1e3"], "trials must be a whole number from 1 or null, not 1e3"),
    ("search", ["workers=1000000"], "workers must be a whole number from 1 to 256, not 1000000"),
    ("search", ["limit.macs=" + "9" * 400], "limit.macs must be a number above 0 or null, not 999"),
    ("search", ["foo._target_=x"], "unknown setting 'foo._target_'"),
    ("search", ["latency._target_=nope"], "latency._target_=nope cannot be had"),
    ("search", ["+latency._args_=[1]"], "cannot read '+latency._args_=[1]'"),
    ("search", ["space.kernels=" + "[" * 1500], "space.kernels must be a list of whole numbers"),
    ("scale", ["objective=latency", "measure=false"], "objective=latency needs latencies"),
    ("search", ["data=imagenet"], "unknown data 'imagenet'"),
    ("search", ["space.kernls=[3]"], "unknown setting 'space.kernls'; did you mean space.kernels?"),
    ("search", ["data.root=pics"], "data.root is of data=cifar10, coco, fashion_mnist, folder"),
    ("search", ["budget.norms=batch"], "and budget=quick is chosen: choose one of those"),
    ("search", ["data.roots=pics"], "unknown setting 'data.roots'; did you mean data.test"),
    ("search", ["accuracy.prior=x"], "prior.NAME=value, or accuracy@accuracy.prior=NAME"),
    ("latency", ["space=inherited"], "give nas.latency another space="),
    ("rediscover", ["space=inherited"], "space=inherited is for python -m nas.search weights="),
    ("rediscover", ["accuracy=inherited"], "give nas.rediscover another accuracy="),
    ("scale", ["accuracy=inherited", "--cfg"], "give nas.scale another accuracy="),
    ("search", ["trails=3"], "unknown setting 'trails'; did you mean trials?"),
    ("search", ["trials"], "cannot read 'trials'"),
    ("search", ["space.kernels=[3,"], "must be a list of whole numbers from 1 to 31, not '[3,'"),
    ("search", ["--multirun"], "cannot read '--multirun'"),
    ("search", ["~trials"], "cannot read '~trials'"),
    ("search", ["~trials="], "cannot read '~trials='"),
    ("search", ["+trails=3"], "cannot read '+trails=3'"),
    ("search", ["seed=null"], "seed must be a whole number from 0, not null"),
    ("search", ["trials=0"], "trials must be a whole number from 1 or null, not"),
    ("search", ["trials=many"], "trials must be a whole number from 1 or null, not"),
    ("search", ["seed=99999999999"], "not 99999999999 (the largest is 2147483648)"),
    ("search", ["seed=-1"], "seed must be a whole number from 0, not"),
    ("search", ["limit.macs=-5"], "limit.macs must be a number above 0"),
    ("search", ["target=mobilnet_v2"], "unknown network 'mobilnet_v2'; did you mean mobilenet_v2"),
    ("search", ["target=1ms"], "target must be milliseconds, a number, or a published network"),
    ("latency", ["target=1,5"], "target must be milliseconds, a number, or a published network"),
    ("search", ["run=../x"], "run must be a name"),
    ("search", ["space.kernels=[4]"], "space.kernels must be odd, not 4"),
    ("search", ["space.kernels=[3,4]"], "space.kernels must be odd, not 4"),
    ("search", ["space.acts=[gelu,relu]"], "unknown space.acts 'gelu'"),
    ("search", ["space.kernels=[]"], "space.kernels must hold one value at least"),
    ("search", ["data=folder"], "data.root"),
    ("search", ["limit.macs=10"], "limit.macs=10 is out of reach"),
    ("search", ["budget.epochs=0"], "epochs"),
    ("search", ["device=tpu"], "unknown device 'tpu'"),
    ("search", ["data.resolution=2"], "resolution 2"),
    ("train", ["weights=file"], "weights.path must be given: weights.path=..."),
    ("profile", ["arch=mobilenet_v4"], "unknown network 'mobilenet_v4'"),
    ("profile", [], "arch must be given"),
    ("profile", ["arch=absent.yaml"], "cannot read the network absent.yaml"),
    ("profile", ["arch=mobilenet_v2", "resolution=9"], "9 is too small for strides of 32"),
    ("profile", ["arch=mobilenet_v2", "width=0"], "width must be a number from 0.05"),
    ("profile", ["arch=mobilenet_v2_0.5", "width=0.5"], "has its width already"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "words", "message"), WRONG, ids=lambda v: str(v)[:40])
def test_a_mistake_gets_one_line_and_exit_code_2(name, words, message, tmp_path, refusal):
    assert message in refusal(name, *words, cwd=tmp_path)
    assert not list(tmp_path.rglob("*.yaml")), "something half-written was left"


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    done = command("nas.search", "trials=many", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("python -m nas.search: trials must be a whole number from 1 or null")


@pytest.mark.parametrize(("rank", "said"), [("0", True), ("1", False)])
def test_torchrun_is_for_training_alone(tmp_path, monkeypatch, rank, said):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    done = command("nas.scale", cwd=tmp_path)
    assert done.returncode == 2
    line = "torchrun is for nas.train, and for accuracy=oneshot of nas.search: start nas.scale once"
    assert done.stderr == f"python -m nas.scale: {line}, with workers= or executor=ray\n" * said


def test_a_damaged_yaml_is_named(tmp_path, refusal):
    (tmp_path / "mine.yaml").write_text("stages: [")
    assert "mine.yaml is not valid YAML" in refusal("profile", "arch=mine.yaml", cwd=tmp_path)


def groups_of(name):
    return {field.name for field in fields(SETTINGS[name]) if field.type == "Component"}


def test_every_option_of_every_group_composes():
    groups = [path.name for path in CONF.iterdir() if path.is_dir()]
    assert {"space", "data", "budget", "latency", "sampler"} <= set(groups)
    for group in groups:
        assert options(group)
        for option in options(group):
            name = next(c for c in ("search", "scale", "train") if group in settings_of(c))
            text = (CONF / group / f"{option}.yaml").read_text()
            required = [f"{group}.{key}=x" for key in re.findall(r"^ *(\w+): \?\?\?", text, re.M)]
            component = compose(name, SETTINGS[name], [f"{group}={option}", *required])[group]
            assert component.name == option
            assert component.node or text.endswith("\n{}\n")  # of an option without settings


def test_who_stops_reading_stops_nothing(tmp_path):
    words = ["arch=mobilenet_v3_small_0.25", "resolution=28", "measure=false", "results=r"]
    with subprocess.Popen(
        [sys.executable, "-m", "nas.profile", *words], cwd=tmp_path, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.close()
    assert process.returncode == 0
    assert list(tmp_path.rglob("profile.json"))


@pytest.mark.parametrize("name", ["latency", "scale", "search", "train"])
def test_the_whole_configuration_is_shown(name, tmp_path):
    done = command(
        f"nas.{name}", "--cfg", "data=folder", "data.root=a, b", "data.flip=no", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["data"] | {"root": "a, b", "flip": False} == shown["data"]
    assert settings_of(name) <= shown.keys()


def test_help_is_made_of_the_configuration():
    text = help_text("search", "about")
    assert "known_cost, gp, nsga2, random, tpe" in text
    assert "finalists: 6" in text


def test_help_shows_what_is_nested_and_no_code():
    text = help_text("search", "about", ["accuracy=oneshot"])
    assert "(each accuracy.NAME=value; nested ones accuracy.budget.NAME=value)" in text
    assert "\n  budget:\n    training:\n      epochs: 6 " in text
    assert not {"_target_", "_partial_", "{}"} & set(re.findall(r"_\w+_|\{\}", text))
    assert "another by accuracy@accuracy.prior=oneshot" in help_text("search", "about")


def test_a_setting_that_must_be_given_is_named():
    with pytest.raises(UserError, match=r"arch must be given: arch=\.\.\."):
        SETTINGS["profile"].of()


def test_a_full_disk_is_one_line_and_other_failures_keep_their_traceback(monkeypatch, capsys):
    def full(cfg):
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    def other(cfg):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as stop:
        main("train", "", full)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m nas.train: cannot write (No space left on device): make room")
    with pytest.raises(OSError, match="Input/output"):
        main("train", "", other)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_what_may_not_be_used_is_one_line(number, monkeypatch, capsys):
    def forbidden(cfg):
        raise OSError(number, "not like this", "/dev/shm/x")

    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as stop:
        main("train", "", forbidden)
    assert stop.value.code == 2
    assert "cannot use /dev/shm/x (not like this): mend that, then" in capsys.readouterr().err


def test_without_a_temporary_folder_nothing_begins(monkeypatch, capsys):
    def missing():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", missing)
    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as stop:
        main("train", "", lambda words: pytest.fail("it began"))
    assert stop.value.code == 2
    assert "found in ['/tmp']: set TMPDIR to a folder that can" in capsys.readouterr().err


@pytest.mark.parametrize("home", ["home", "none"])
def test_onnxruntime_leaves_nothing_in_the_home_and_says_nothing(home, tmp_path):
    (tmp_path / "home").mkdir()
    # root may write anywhere but below a file
    (tmp_path / "none").write_text("")
    env = {**os.environ, "HOME": str(tmp_path / home)}
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
        env.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", "import nas.network.export"],
        capture_output=True, text=True, check=False, timeout=120, env=env,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not list((tmp_path / "home").rglob("*"))


# -- any encoding --------------------------------------------------------------------------------


def printed(encoding: str, text: str, errors: str = "strict") -> str:
    stream = io.TextIOWrapper(file := io.BytesIO(), encoding=encoding, errors=errors)
    print_any_letter(stream)
    stream.write(text)
    stream.flush()
    return file.getvalue().decode(encoding)


@settings(max_examples=60)
@given(
    text=st.text(),
    encoding=st.sampled_from(["ascii", "latin-1", "cp1252", "cp437", "shift_jis", "utf-8"]),
    errors=st.sampled_from(["strict", "surrogateescape", "backslashreplace"]),
)
def test_any_letter_can_be_printed(text, encoding, errors):
    assert len(printed(encoding, text, errors)) >= len(text)


def test_our_own_signs_are_plain_where_an_encoding_lacks_them():
    assert printed("ascii", "8 ★ 86.6% ± 0.8% · 1.0 → 1.1 · 日") == (
        r"8 * 86.6% +- 0.8% | 1.0 -> 1.1 | \u65e5"
    )
    assert printed("cp1252", "± · → ★") == "± · -> *"
    assert printed("utf-8", "".join(PLAIN_SIGNS)) == "".join(PLAIN_SIGNS)


def test_every_sign_that_is_printed_has_a_plain_one():
    source = "".join(path.read_text(encoding="utf-8") for path in CONF.parent.glob("nas/**/*.py"))
    strings = re.findall(r'"(?:[^"\\\n]|\\.)*"', source)
    assert {c for text in strings for c in text if not c.isascii()} <= {*PLAIN_SIGNS, *"μ−’"}


@pytest.mark.parametrize("words", [["--help"], []])
def test_help_and_errors_in_ascii(words, monkeypatch):
    def fail(cfg):
        raise UserError("a → b")

    streams = {n: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for n in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["train", *words])
    if words:
        main("train", "more ★", fail)
    else:
        with pytest.raises(SystemExit):
            main("train", "", fail)
    found = b""
    for stream in streams.values():
        stream.flush()
        found += stream.buffer.getvalue()  # type: ignore[attr-defined]  # of BytesIO
    assert (b"more *" if words else b"nas.train: a -> b") in found


def test_an_unknown_setting_is_looked_for_in_the_chosen_groups():
    with pytest.raises(UserError, match=r"latency\.max_seconds") as error:
        SETTINGS["search"].of("latency=table", "latency.max_seconds=1")
    assert "did you mean latency.max_seconds" not in str(error.value)
