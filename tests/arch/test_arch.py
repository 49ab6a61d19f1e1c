"""Round trips through YAML, and what is refused on the way in."""

from __future__ import annotations

import json

import pytest

from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.notation import arch_string
from nas.arch.operators import operators
from nas.arch.serialization import dumps, from_dict, load, loads, to_dict
from nas.core.errors import UserError
from nas.space.choices import one_of
from search_spaces.lookup import PUBLISHED
from search_spaces.published import MAKERS


@pytest.mark.parametrize(
    "name", [*MAKERS, "tf_mobilenet_v3_large_0.75", "nas_bench_macro_01201201"]
)
def test_yaml_and_json_give_the_same_network_back(name):
    arch = PUBLISHED[name]
    assert loads(dumps(arch)) == arch
    assert loads(dumps(arch)).name == name
    assert from_dict(json.loads(json.dumps(to_dict(arch)))) == arch


def test_blocks_repeat_the_last_slot():
    stage = Stage(40, depth=4, blocks=(Block(kernel=5), Block(kernel=3)))
    assert [b.kernel for b in stage.slots()] == [5, 3, 3, 3]


def test_reading_form():
    form = arch_string(PUBLISHED["mobilenet_v3_large"])
    assert form.startswith("r224 stem_k3_s2_c16_hswish | mbconv_k3_s1_e1_c16_relu_d1 | ")
    assert "mbconv_k5_s2_e3_c40_se0.25_relu_d3" in form
    assert "e2.5_c80_hswish_d1 + mbconv_k3_s1_e2.3_c80_hswish_d2" in form
    assert form.endswith("head_c960_h1280_hswish")


def test_reading_form_says_the_strides_that_are_taken():
    stages = (Stage(8, 0, 2), Stage(16, 2), Stage(24, 1, 2), Stage(32))
    arch = Arch(stages, Stem(8), resolution=32)
    words = [part.split("_") for part in arch_string(arch).split(" | ")]
    assert [w[2] for w in words[1:4]] == ["s2", "s2", "s1"]
    taken = [r.side // r.side_out for r in operators(arch) if r.place.endswith("block1")]
    assert taken == [2, 2, 1]


GOOD = "stages:\n- {width: 16}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages:\n- {widht: 16}", "field of arch.stages.0 'widht'; did you mean width"),
        ("stages:\n- {depth: 1}", "arch.stages.0 lacks the field 'width'"),
        ("stages: []", "at least one stage"),
        ("stages: 5", "must be a list of stages, not 5"),
        ("stages:\n- 5", "arch.stages.0 must be a mapping"),
        ("stages:\n- {width: wide}", "width must be a whole number"),
        ("stages:\n- {width: 16.5}", "width must be a whole number"),
        ("stages:\n- {width: 16.0}", "width must be a whole number from 1 to 1000000, not 16.0"),
        ("stages:\n- {width: 16, depth: 2.0}", "depth must be a whole number"),
        ("stages:\n- {width: 16, depth: true}", "depth must be a whole number"),
        ("stages:\n- {width: 16, blocks: {kernel: 3.0}}", "kernel must be a whole number"),
        ("stages:\n- {width: 16, blocks: {kernel: .nan}}", "kernel must be a whole number"),
        ("stages:\n- {width: 16, blocks: {expand: .nan}}", "expand must be a number from 0.1"),
        ("stages:\n- {width: 16, blocks: {skip: 1}}", "skip must be true or false, not 1"),
        ("stages:\n- {width: 16, blocks: {skip: maybe}}", "skip must be true or false"),
        (GOOD + "name: 5", "name must be text, not 5"),
        ("stages:\n- {width: 16, blocks: {kernel: 4}}", "kernel must be odd"),
        ("stages:\n- {width: 16, blocks: {act: gelu}}", "unknown act 'gelu'"),
        ("stages:\n- {width: 16, blocks: []}", "at least one block"),
        ("stages:\n- {width: 16, stride: 3}", "stride must be a whole number from 1 to 2, not 3"),
        (GOOD + "padding: valid", "unknown padding 'valid'"),
        (GOOD + "resolution: 0", "resolution must be a whole number from 1 to 8192"),
        (GOOD + "bn_eps: true", "bn_eps must be a number"),
        ("stages: [", "is not valid YAML"),
        ("just text", "must be a mapping of fields"),
    ],
)  # fmt: skip
def test_a_wrong_description_gets_one_line(text, message):
    with pytest.raises(UserError) as error:
        loads(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Arch([Stage(16)]), "stages must be a tuple of Stage, not a list"),
        (lambda: Arch(Stage(16)), r"stages must be a tuple of Stage, not Stage\(width=16"),
        (lambda: Arch((16,)), "stages must be a tuple of Stage, not 16"),
        (lambda: Arch((Block(),)), r"stages must be a tuple of Stage, not Block\("),
        (lambda: Stage(16, blocks=[Block()]), "blocks must be a Block or a tuple of Block, not a"),
        (lambda: Stage(16, blocks=one_of({"a": Block(), "b": 3})), "blocks must be a Block .* 3"),
        (lambda: Stage((16, 24)), r"width must be a whole number .*, not \(16, 24\)"),
        (lambda: Block(kernel=(3, 5)), r"kernel must be a whole number .*, not \(3, 5\)"),
        (lambda: Arch((Stage(16),), stem=None), "stem must be a Stem, not None"),
        (lambda: Arch((Stage(16),), head=Stem()), r"head must be a Head, not Stem\("),
        (lambda: Arch((Stage(16),), dense=5), "dense must be a head for boxes or masks, or none"),
    ],
)
def test_what_stands_in_the_place_of_another_kind_gets_one_line(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_holes_may_stand_for_nodes():
    pair = (Block(), Block(kernel=5))
    Stage(16, blocks=one_of({"a": Block(), "b": pair}))
    Stage(16, blocks=(Block(), one_of({"a": Block(), "b": Block(kernel=5)})))
    either = one_of({"a": Stage(16), "b": Stage(24)})
    Arch((either,), stem=one_of({"a": Stem(), "b": Stem(16)}))
    Arch(one_of({"a": (Stage(16),), "b": (either, Stage(16))}))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot read the network"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        load(tmp_path / "binary.yaml")


def test_the_name_is_not_part_of_the_network():
    assert Arch((Stage(16),), name="a") == Arch((Stage(16),), name="b")
    assert hash(Arch((Stage(16),), name="a")) == hash(Arch((Stage(16),)))
