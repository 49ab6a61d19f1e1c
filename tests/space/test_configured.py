"""The space that the configuration names."""

from __future__ import annotations

import pytest

from nas.core.errors import UserError
from nas.space.configured import width_of


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
