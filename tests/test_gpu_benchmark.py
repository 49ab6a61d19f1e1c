"""The benchmark of a GPU's paths, rehearsed on the CPU: it cannot be tried where it is written."""

from __future__ import annotations

import json

import pytest

from benchmarks.gpu import main
from benchmarks.gpu_sections import SECTIONS
from nas.core.errors import UserError

ELSEWHERE = {"tests", "commands", "pool", "speed"}  # start processes, or only measure


def test_every_section_but_those_that_start_others_passes_on_a_cpu(tmp_path, capsys):
    named = [name for name in SECTIONS if name not in ELSEWHERE]
    words = ["device=cpu", "quick", f"results={tmp_path}", *named]
    found = main(words)
    assert [one["section"] for one in found] == named
    assert all(result.get("passed", True) for one in found for result in one["results"])
    (path,) = tmp_path.iterdir()
    facts = json.loads(path.read_text())
    assert (facts["card"], facts["quick"]) == ("cpu", True)
    assert facts["sections"] == found
    assert " 0 failed" in capsys.readouterr().out


def test_a_section_that_raises_fails_alone_and_a_deadline_ends_all(tmp_path, monkeypatch):
    def broken(bench: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(SECTIONS, "training", broken)
    words = ["device=cpu", "quick", f"results={tmp_path}"]
    (failed,), (passed,) = (one["results"] for one in main([*words, "training", "generators"]))
    assert not failed["passed"]
    assert "no such kernel" in failed["note"]
    assert passed["passed"]
    ((late,),) = (one["results"] for one in main([*words, "deadline=-1", "generators"]))
    assert late == {"name": "generators", "passed": False, "note": "no time was left"}


def test_words_that_mean_nothing():
    with pytest.raises(UserError, match=r"no such section or setting: trainings .*training"):
        main(["device=cpu", "trainings"])
