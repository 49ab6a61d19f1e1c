"""The space that the configuration names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.arch.arch import Arch, ImageSpec, Stage, Stem
from nas.core.errors import UserError
from nas.space.choices import one_of
from nas.space.configured import configured_space, width_of


def test_a_space_with_a_width_is_thin_on_small_images():
    assert width_of("mbconv", {"width": None}, None, 28) == 0.25
    assert width_of("mbconv", {"width": None}, None, 96) == 1.0
    assert width_of("mbconv", {"width": None}, 0.5, 28) == 0.5


def test_the_width_of_the_space_is_that_of_networks_named_without_one():
    assert width_of("mbconv", {"width": 0.5}, None, 28) == 0.5
    assert width_of("mbconv", {"width": 0.5}, 0.5, 28) == 0.5
    with pytest.raises(UserError, match=r"width=1 and space.width=0.5 differ: give one"):
        width_of("mbconv", {"width": 0.5}, 1.0, 28)


def test_a_space_without_a_width_has_its_own():
    """So is the target that is named without one: mobilenet_v2, not a quarter of it."""
    assert width_of("nas_bench_macro", {"slots": 8}, None, 28) == 1.0
    assert width_of("nas_bench_macro", {"slots": 8}, 1.0, 28) == 1.0
    with pytest.raises(UserError, match=r"space=nas_bench_macro has its own widths: .* width=0.5"):
        width_of("nas_bench_macro", {"slots": 8}, 0.5, 28)


PAIR = one_of({"a": Stage(16), "b": Stage(24)})


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("resolution", {"resolution": one_of(64, 96)}),
        ("stem", {"stem": one_of({"a": Stem(8), "b": Stem(16)})}),
        ("stem.stride", {"stem": Stem(stride=one_of(1, 2, name="down"))}),
        ("stages", {"stages": one_of({"a": (Stage(16),), "b": (Stage(24),)})}),
        ("stages.1", {"stages": (Stage(16), PAIR)}),
        ("stages.1.stride", {"stages": (Stage(16), Stage(24, stride=one_of(1, 2)))}),
    ],
)
def test_what_the_images_decide_cannot_be_chosen(key, fields):
    def own(channels, classes):
        space = Arch((Stage(one_of(8, 16)),), channels=channels, classes=classes)
        return replace(space, **fields)

    with pytest.raises(UserError, match=rf"space=own: {key} cannot be chosen.* one value; free"):
        configured_space(own, "own", ImageSpec(3, 10, 96))


def test_all_else_can_be_chosen():
    stage = Stage(one_of(8, 16), depth=one_of(1, 2))
    stem = Stem(one_of(8, 16), kernel=one_of(3, 5))
    space = configured_space(lambda **spec: Arch((stage,), stem, **spec), "own", ImageSpec(1, 4, 4))
    assert (space.channels, space.classes, space.resolution) == (1, 4, 4)
    assert (space.stages[0], space.stem) == (stage, replace(stem, stride=1))
