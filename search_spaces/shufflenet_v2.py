"""ShuffleNetV2 (Ma et al. 2018), as torchvision has it."""

from __future__ import annotations

from nas.arch import Arch, Block, Head, Stage, Stem, round_channels

# Table 5: channels of the stages 2 to 4 and of the last convolution, by width multiplier.
_WIDTHS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
_REPEATS = (4, 8, 4)
_STEM = 24


def shufflenet_v2(width: float = 1.0, resolution: int = 224) -> Arch:
    """ShuffleNetV2 at one of the paper's width multipliers.

    At others the stages' widths of 1.0 are multiplied, and rounded to multiples of 8.
    """
    if width in _WIDTHS:
        *widths, last = _WIDTHS[width]
    else:
        *widths, last = _WIDTHS[1.0]
        widths = [round_channels(c * width) for c in widths]
    return Arch(
        stages=(
            Stage(width=_STEM, stride=2, blocks=Block(op="maxpool")),
            *(
                Stage(width=c, depth=n, stride=2, blocks=Block(op="shuffle"))
                for c, n in zip(widths, _REPEATS, strict=True)
            ),
        ),
        stem=Stem(width=_STEM),
        head=Head(width=last, dropout=0.0),
        resolution=resolution,
    )
