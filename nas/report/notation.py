"""A network out of its line of notation, where it is known to be the same one.

A run's tables hold networks as `arch_string` writes them, which leaves out what a space has the
same for all: how squeeze-and-excitation is gated, classes, norms.  These are taken from a network
of the same run, or as in MobileNetV3; the id says whether that was right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import BLOCKS, Block
from nas.arch.operators import network_id
from nas.core.errors import UserError

V3_EXCITE = ("expanded", "hsigmoid", "relu")  # Howard et al. 2019, section 5.3
PART = re.compile(r"(k|s|e|c|se|d|h)([\d.-]+)$")
DIGITS = 6  # significant, of a ratio in the notation


def arch_of(text: str, key: str, like: Iterable[Arch]) -> Arch | None:
    """The network with that notation and that id; None where it cannot be told.

    `like` are networks of the same run, which have what the notation leaves out.
    """
    for known in like:
        excites = [(b.se_from, b.se_gate, b.se_act) for s in known.stages for b in s.slots()[:1]]
        for excite in dict.fromkeys([*excites, V3_EXCITE, ("input", "sigmoid", "")]):
            for layer in dict.fromkeys((known.head.hidden_layer, "linear", "conv")):
                try:
                    arch = _read(text, known, excite, layer)
                    if network_id(arch) == key:
                        return arch
                except (UserError, KeyError, ValueError):  # of another notation than ours
                    return None
    return None


def _read(text: str, like: Arch, excite: tuple[str, str, str], hidden_layer: str) -> Arch:
    first, *middle = text.split(" | ")
    side, stem = first.split(" ")
    last = middle.pop() if middle and middle[-1].startswith("head_") else ""
    _, own, words = _parts(stem)
    stages = tuple(_stage(part, excite) for part in middle)
    head = replace(like.head, width=0, hidden=0)
    if last:
        _, sizes, act = _parts(last)
        hidden = int(sizes.get("h", 0))
        head = Head(int(sizes["c"]), act[0], hidden, hidden_layer, like.head.dropout)
    return replace(
        like,
        stages=stages,
        stem=Stem(int(own["c"]), int(own["k"]), int(own["s"]), words[0]),
        head=head,
        resolution=int(side.removeprefix("r")),
        name="",
    )


def _parts(text: str) -> tuple[str, dict[str, str], list[str]]:
    """The operation, its numbers by letter, and its words: `mbconv_k3_s1_relu` and the like."""
    op = next((op for op in sorted(BLOCKS, key=len, reverse=True) if text.startswith(op)), "")
    rest = text.removeprefix(op).strip("_").split("_")
    found = {m[1]: m[2] for part in rest if (m := PART.match(part))}
    return (
        op,
        found,
        [part for part in rest if not PART.match(part) and part not in ("stem", "head")],
    )


def _stage(text: str, excite: tuple[str, str, str]) -> Stage:
    runs = [_parts(part) for part in text.split(" + ")]
    blocks = tuple(block for run in runs for block in _blocks(*run, excite))
    sizes = runs[0][1]
    return Stage(int(sizes["c"]), len(blocks), int(sizes["s"]), blocks)


def _blocks(
    op: str, sizes: dict[str, str], words: list[str], excite: tuple[str, str, str]
) -> Iterator[Block]:
    first, _, kernel = sizes.get("k", "3").rpartition("-")
    expand = float(sizes.get("e", 1))
    acts = [word for word in words if word not in ("noskip", "nonlinear")]
    block = Block(
        op=op,
        kernel=int(kernel),
        expand=int(expand) if expand == int(expand) else expand,
        se=float(sizes.get("se", 0)),
        act=acts[0] if acts else "relu",
        se_from=excite[0],
        se_gate=excite[1],
        se_act=excite[2],
        skip="noskip" not in words,
        linear="nonlinear" not in words,
        first_kernel=int(first or 0),
    )
    yield from [block] * int(sizes["d"])
