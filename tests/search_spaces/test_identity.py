"""Identities by which files of earlier runs are found again: they may never change."""

from __future__ import annotations

import hashlib

import pytest

from nas.arch.operators import network_id, operators
from nas.latency.timing_journal import part_key
from search_spaces.lookup import PUBLISHED
from search_spaces.mbconv import mbconv
from search_spaces.mobilenet_v3 import mobilenet_v3
from search_spaces.nas_bench_macro import nas_bench_macro

# As version 0.1 (commit 24a3697) had them: id of the network, key of its layers in a journal.
NETWORKS = {
    "mobilenet_v1": ("259b40609bb6", "a191436c6261"),
    "mobilenet_v2": ("fbc453f93b0b", "0d9775ebf040"),
    "mobilenet_v3_large": ("41cd7e1105bf", "e05272cdfb85"),
    "mobilenet_v3_small_minimal": ("2d79c00124f5", "dc894d9a9864"),
    "mnasnet_a1": ("cf5c4d2d35d9", "3d4a73096aea"),
    "efficientnet_b0": ("18bb2da8927a", "2cdf4e8dbf65"),
    "efficientnet_lite0": ("0d73862c30dc", "33466a18d684"),
}
SPACES = {  # digests of what a latency table is kept under
    mbconv: "4a58dcc872c6",
    mobilenet_v3: "1b1e9f8f0b1b",
    nas_bench_macro: "0948e6a3f05f",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_their_identity(name):
    arch = PUBLISHED[name]
    assert (network_id(arch), part_key(operators(arch))) == NETWORKS[name]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.__name__)
def test_spaces_keep_their_identity(space):
    assert hashlib.sha256(repr(space()).encode()).hexdigest()[:12] == SPACES[space]
