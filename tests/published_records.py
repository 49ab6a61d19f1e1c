"""Published networks of the reference facts, and what we call them."""

from __future__ import annotations

from conftest import reference

FILES = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "mnasnet", "efficientnet", "efficientnet_lite",
    "efficientnet_v2", "mobilenet_v4",
)  # fmt: skip
# Networks of other authors on the same blocks, which no paper of the lineage published.
NOT_OURS = {
    "timm:mobilenetv2_110d", "timm:mobilenetv2_120d", "timm:mobilenetv3_large_150d",
    "timm:mobilenetv3_rw", "timm:mnasnet_small",
}  # fmt: skip


def our_name(source: str) -> str:
    """Our name for the reference's "library:model"."""
    _, _, model = source.partition(":")
    model, _, width = model.partition("(width")
    width = "_" + width.split("=")[1].split(")")[0] if width else ""
    resolution = "_" + source.split("@")[1] if "@" in source else ""
    tf = "tf_" if model.startswith("tf_") or "mobilenetv3" in model else ""
    model = model.removeprefix("tf_").replace("-", "_").replace("_gen_", "").split("@")[0]
    for old, new in (
        ("mobilenetv1", "mobilenet_v1"),
        ("mobilenetv2", "mobilenet_v2"),
        ("mobilenetv3", "mobilenet_v3"),
        ("mobilenetv4", "mobilenet_v4"),
        ("efficientnetv2", "efficientnet_v2"),
        ("minimal_100", "minimal"),
        ("semnasnet_", "mnasnet_a1_"),
        ("mnasnet_100", "mnasnet_b1_100"),
        ("mnasnet_0", "mnasnet_b1_0"),
        ("mnasnet_1", "mnasnet_b1_1"),
        ("mnasnet1_0", "mnasnet_b1_100"),
        ("mnasnet0_5", "mnasnet_b1_050"),
        ("mnasnet0_75", "mnasnet_b1_075"),
        ("mnasnet1_3", "mnasnet_b1_1.3"),
    ):
        model = model.replace(old, new)
    head, _, tail = model.rpartition("_")
    if tail in {"035", "050", "075", "100", "125", "140"}:
        model = head + ("" if tail == "100" else f"_{int(tail) / 100:g}")
    return tf + model + width + resolution


def records() -> list[tuple[str, dict[str, object]]]:
    found = [(n, r) for file in FILES for n, r in reference(file).get("models", {}).items()]
    return [(n, r) for n, r in found if n not in NOT_OURS]
