"""Published networks for boxes and masks: a head on any published backbone.

`ssdlite320_mobilenet_v3_large`, `lraspp_mobilenet_v3_large` and `deeplabv3_mobilenet_v3_large` are
torchvision's; any other backbone, and a side in pixels behind the head's name, make others, such
as `ssdlite320_mobilenet_v2`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from nas.arch.arch import Arch
from nas.arch.dense import PRESETS

# COCO's 90 numbers and the background; Pascal VOC's 20 classes and the background
CLASSES = {"ssdlite": 91, "lraspp": 21, "deeplabv3": 21}
SIDES = {"ssdlite": 320}  # pixels, where the name says none; else the backbone's
_NAME = re.compile(rf"(?P<head>{'|'.join(PRESETS)})(?P<side>\d{{2,4}})?_(?P<backbone>.+)")


def parts_of(name: str) -> tuple[str, int | None, str] | None:
    """(head, side in pixels if said, name of the backbone); None for another kind of name."""
    match = _NAME.fullmatch(name)
    return match and (match["head"], int(match["side"] or 0) or None, match["backbone"])


def with_head(head: str, side: int | None, backbone: Arch, name: str) -> Arch:
    """The published `backbone`, known by `name`, with that head in the place of its classifier."""
    if head == "ssdlite" and "mobilenet_v3_" in name:
        backbone = _half_tail(backbone)
    side = side or SIDES.get(head, backbone.resolution)
    return replace(backbone, dense=PRESETS[head], classes=CLASSES[head], resolution=side)


def _half_tail(arch: Arch) -> Arch:
    """Half the channels in the last stage and behind it (Howard et al. 2019, section 6.3).

    The first block's expansion reads the stage before, and keeps its width.
    """
    last = arch.stages[-1]
    assert isinstance(last.blocks, tuple)  # as in every MobileNetV3
    stage = replace(last, width=last.width // 2)
    head = replace(arch.head, width=arch.head.width // 2)
    return replace(arch, stages=(*arch.stages[:-1], stage), head=head)
