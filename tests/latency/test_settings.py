"""The settings of the commands that time networks: checked however they are made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from nas.core.errors import UserError
from nas.latency.run import open_space
from nas.latency.settings import LatencySettings


def test_they_are_those_of_the_command_line():
    settings = LatencySettings.of("space=mobilenet_v3", "space.base=small", "target=1.5")
    assert (settings.space.name, settings.space.node["base"]) == ("mobilenet_v3", "small")
    assert (settings.target, settings.width) == (1.5, None)
    assert settings.latency.make().name == "onnxruntime"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": "mobilenet_v9"}, "mobilenet_v9"),
        ({"target": 0}, "target must be a number"),
        ({"width": 0}, "width must be a number"),
        ({"resolution": 1.5}, "resolution must be a whole number"),
        ({"strict": 1}, "strict must be true or false"),
    ],
)
def test_made_directly_they_are_checked_too(given, message):
    settings = LatencySettings.of()
    with pytest.raises(UserError, match=message):
        replace(settings, **given)


def test_nothing_changes_them():
    settings = LatencySettings.of("resolution=32")
    before = repr(settings)
    space, width = open_space(settings)
    assert (space.resolution, width, repr(settings)) == (32, 0.25, before)
    assert open_space(replace(settings, resolution=224))[1] == 1.0
    with pytest.raises(FrozenInstanceError):
        settings.width = 1.0
