"""The spaces that contract tests run over: each by name, at 224 pixels and at 28."""

from __future__ import annotations

from nas.arch.arch import Arch
from nas.arch.scaling import for_resolution
from search_spaces.mbconv import mbconv
from search_spaces.mobilenet_v3 import mobilenet_v3
from search_spaces.mobilenet_v4 import mobilenet_v4
from search_spaces.nas_bench_macro import nas_bench_macro

SPACES: dict[str, Arch] = {
    "mbconv": mbconv(),
    "mbconv_28": for_resolution(mbconv(width=0.35, channels=1, classes=10), 28),
    "mobilenet_v3_large": mobilenet_v3(),
    "mobilenet_v3_small_32": for_resolution(mobilenet_v3(base="small", classes=10), 32),
    "mobilenet_v4": mobilenet_v4(),
    "mobilenet_v4_28": for_resolution(mobilenet_v4(width=0.25, channels=1, classes=10), 28),
    "nas_bench_macro": nas_bench_macro(),
}
