"""The run folder: whole files, and a configuration that does not change under a run's name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nas.core.download import cache_dir
from nas.core.errors import UserError
from nas.core.files import user_path, write_text
from nas.core.run_folder import check_config, environment, open_folder, write_json, write_yaml


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    monkeypatch.setattr(os, "fdopen", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def full_disk(handle: int, *_: object, **__: object) -> object:
    os.close(handle)
    raise OSError(28, "No space left on device")


def test_json_has_null_for_what_is_unknown(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [1.5, -float("inf")], "c": "µ"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1.5, None], "c": "µ"}


def test_another_configuration_under_the_same_name_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    check_config(path, {"seed": 0})
    write_yaml(path, {"seed": 0, "space": {"kernels": [3, 5]}})
    check_config(path, {"seed": 0, "space": {"kernels": [3, 5]}})
    with pytest.raises(UserError) as error:
        check_config(path, {"seed": 1, "space": {"kernels": [3]}})
    assert "seed: 1 here, 0 there; space.kernels: [3] here, [3, 5] there" in str(error.value)
    assert "\n" not in str(error.value)
    write_yaml(path, {"weights": {"path": None}})  # of a version that had no weights.key
    check_config(path, {"weights": {"path": None, "key": None}})
    with pytest.raises(UserError, match=r"weights\.key: ema here, None there"):
        check_config(path, {"weights": {"path": None, "key": "ema"}})
    path.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        check_config(path, {"seed": 0})


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "results").write_text("a file in the way")
    with pytest.raises(UserError, match=r"cannot write to the results folder .* with results="):
        open_folder(tmp_path / "results" / "run")


def test_a_user_without_a_home_is_told_so(monkeypatch):
    pwd = pytest.importorskip("pwd", reason="needs users as Unix has them")

    def unknown(_: object) -> object:
        raise KeyError("uid not found")

    assert user_path("~/a") == Path.home() / "a"
    with pytest.raises(UserError, match=r"no home folder here for ~nobody-at-all/a: give the path"):
        user_path("~nobody-at-all/a")
    for name in ("HOME", "NAS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UserError, match=r"no home folder here for ~/.cache: set NAS_CACHE to a"):
        cache_dir()
    monkeypatch.setenv("NAS_CACHE", "/c")
    assert cache_dir() == Path("/c")


def test_the_environment_says_where_a_result_was_made():
    found = environment(seed=3)
    assert found["seed"] == 3
    assert found["cpu"]
    assert found["versions"]["torch"]


def test_code_may_move_but_what_it_is_chosen_by_may_not(tmp_path):
    """`_target_` names code: a run begun before a module moved goes on."""
    path = tmp_path / "config.yaml"
    old = {"accuracy": {"_target_": "nas.old.Judge", "prune": True}}
    new = {"accuracy": {"_target_": "nas.new.place.Judge", "prune": True}}
    groups = {"groups": {"accuracy": "scratch"}}
    write_yaml(path, old)  # as version 0.1 wrote it
    check_config(path, new | groups)
    write_yaml(path, old | groups)
    check_config(path, new | groups)
    with pytest.raises(UserError, match="accuracy: mine here, scratch there"):
        check_config(path, new | {"groups": {"accuracy": "mine"}})


def test_a_run_that_knew_no_frozen_norms_had_those_of_its_batches(tmp_path):
    path, old = tmp_path / "config.yaml", {"budget": {"epochs": 10}}
    write_yaml(path, old)
    check_config(path, old)
    check_config(path, {"budget": {"epochs": 10, "norms": "batch"}})
    with pytest.raises(UserError, match=r"\(budget\.norms: frozen here, batch there\)"):
        check_config(path, {"budget": {"epochs": 10, "norms": "frozen"}})


def test_weights_that_have_changed_are_refused_where_the_run_knows_those_it_began_with(tmp_path):
    path, config = tmp_path / "config.yaml", {"weights": {"path": "mine.pt", "key": None}}
    write_yaml(path, config)  # of a version that did not say
    check_config(path, config | {"weights_sha256": "a1", "network": "b1"})
    write_yaml(path, config | {"weights_sha256": "a1", "network": "b1"})
    with pytest.raises(UserError, match=r"network: b2 here, b1 there; weights_sha256: a2 here"):
        check_config(path, config | {"weights_sha256": "a2", "network": "b2"})


def test_a_run_of_boxes_that_knew_a_void_is_gone_on_with(tmp_path):
    path = tmp_path / "config.yaml"
    write_yaml(path, {"data": {"name": "coco", "void": 255}})
    check_config(path, {"data": {"name": "coco"}})
