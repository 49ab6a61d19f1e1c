"""How the files are loaded, in Python, Kotlin and Swift."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.data.decoding import EIGHT_BITS
from nas.export.setup import ExportRun

OPENED = """\
import json, numpy, onnxruntime
from PIL import {pil}

options = onnxruntime.SessionOptions()  # 8 bits are exact on x86 without VNNI too:
options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession("{file}", options)
facts = session.get_modelmeta().custom_metadata_map
classes, mean, std = (json.loads(facts[key]) for key in ("classes", "mean", "std"))
"""
PICTURE = """\
picture = ImageOps.exif_transpose(Image.open("picture.jpg"))  # upright
{colours}# the centre square
picture = ImageOps.fit(picture, ({side}, {side}), Image.Resampling.BICUBIC)
"""
COLOURS = """\
if picture.has_transparency_data:  # becomes white
    picture = picture.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
picture = picture.convert("{mode}")
"""
EIGHT = """\
values = numpy.nan_to_num(numpy.array(picture, "float32"), nan={low})
values = numpy.interp(values, ({low}, {high}), (0, 255)).round()  # what lies outside is clipped
picture = Image.fromarray(values.astype("uint8"))
"""
BYTES = """\
image = numpy.array(picture).reshape(1, {side}, {side}, {channels})
"""
NORMALISED = """\
image = (numpy.array(picture).reshape({side}, {side}, -1) / 255 - mean) / std
image = image.transpose(2, 0, 1)[None].astype(numpy.float32)
"""
ANSWER = """\
logits = session.run(None, {{"image": image}})[0][0]
print(classes[logits.argmax()])"""
OUTPUTS = {"detection": "boxes, scores, labels = ", "segmentation": "(mask,) = "}
ANSWERS = """\
side = session.get_inputs()[0].shape[-1]
picture = ImageOps.exif_transpose(Image.open("picture.jpg"))  # upright
{colours}# the whole picture
picture = picture.resize((side, side), Image.Resampling.BILINEAR)
image = ((numpy.asarray(picture) / 255 - mean) / std).transpose(2, 0, 1)[None]
{names}session.run(None, {{"image": image.astype(numpy.float32)}})"""
KOTLIN = """\
val env = OrtEnvironment.getEnvironment()  // com.microsoft.onnxruntime:onnxruntime-android
val session = env.createSession(assets.open("{file}").readBytes())
val image = OnnxTensor.createTensor(env, {kotlin}, longArrayOf({shape}){kotlin_type})
val logits = (session.run(mapOf("image" to image))[0].value as Array<FloatArray>)[0]
val best = logits.indices.maxBy {{ logits[it] }}"""
SWIFT = """\
let env = try ORTEnv(loggingLevel: .warning)  // onnxruntime-swift-package-manager
let session = try ORTSession(env: env, modelPath: path, sessionOptions: nil)
let image = try ORTValue(tensorData: {swift}, elementType: {swift_type}, shape: [{shape}])
let out = try session.run(withInputs: ["image": image], outputNames: ["logits"], runOptions: nil)
let logits = try out["logits"]!.tensorData() as Data  // {classes} of Float32"""
LITERT = """\
val litert = Interpreter(FileUtil.loadMappedFile(context, "{file}"))  // com.google.ai.edge.litert
val logits = Array(1) {{ {array}({classes}) }}
litert.run(pixels, logits)  // pixels: ByteBuffer, 1 x {side} x {side} x {channels}, {what}
val best = logits[0].indices.maxBy {{ logits[0][it] }}"""


def examples(run: ExportRun, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown: the fastest ONNX file in three languages, the fastest LiteRT file in Kotlin."""
    if run.task:
        file = min(rows, key=lambda row: row["latency_ms"])["file"]
        yield "Python:"
        known = {"pil": "Image, ImageOps", "colours": COLOURS.format(mode="RGB")}
        code = (OPENED + ANSWERS).format(file=file, names=OUTPUTS[run.task.name], **known)
        yield f"```python\n{code}\n```"
        return
    for ending in (".onnx", ".tflite"):
        own = [row for row in rows if row["file"].endswith(ending)]
        if own:
            row = min(own, key=lambda row: row["latency_ms"])
            yield from _onnx(run, row) if ending == ".onnx" else _litert(run, row)


def _facts(run: ExportRun, row: Mapping[str, Any]) -> dict[str, Any]:
    side, channels = run.arch.resolution, run.arch.channels
    low, high = json.loads(run.facts["range"])
    ends = {"low": _exact(low), "high": _exact(high)}
    mode, is_deep = "RGB" if channels == 3 else "L", (low, high) != EIGHT_BITS
    return ends | {
        "pil": "Image, ImageOps",
        "file": row["file"],
        "side": side,
        "channels": channels,
        "colours": EIGHT.format(**ends) if is_deep else COLOURS.format(mode=mode),
        "is_deep": is_deep,
        "span": _exact(high - low),
        "classes": len(run.classes),
    }


def _exact(number: float) -> str:
    """As code, without a point where it is whole."""
    return repr(int(number)) if number == int(number) else repr(number)


def _normalised(run: ExportRun, facts: Mapping[str, Any]) -> str:
    """How a pixel's value becomes what the network takes, in words."""
    mean, std = run.facts["mean"], run.facts["std"]
    value = f"((value - {facts['low']}) / {facts['span']} - mean) / std"
    within = f", values clipped to {facts['low']} to {facts['high']}, NaN the lowest"
    return f"{value} with mean {mean} and std {std}{within * facts['is_deep']}"


def _onnx(run: ExportRun, row: Mapping[str, Any]) -> Iterator[str]:
    facts, taken = _facts(run, row), run.settings.preprocess
    side, channels = facts["side"], facts["channels"]
    if taken:
        facts |= {"kotlin": "ByteBuffer.wrap(pixels)", "kotlin_type": ", OnnxJavaType.UINT8"}
        facts |= {"swift": "NSMutableData(data: pixels)", "swift_type": ".uInt8"}
        facts["shape"] = f"1, {side}, {side}, {channels}"
        note = "`pixels` are bytes, row by row, the colours of a pixel together."
    else:
        facts |= {"kotlin": "FloatBuffer.wrap(pixels)", "kotlin_type": ""}
        facts |= {"swift": "NSMutableData(data: pixels)", "swift_type": ".float"}
        facts["shape"] = f"1, {channels}, {side}, {side}"
        how = _normalised(run, facts)
        note = f"`pixels` are Float32, one colour after the other, each {how}."
    middle = BYTES if taken else NORMALISED
    python = OPENED + PICTURE + middle + ANSWER
    yield "Python:"
    yield f"```python\n{python.format(**facts)}\n```"
    yield f"Kotlin and Swift. {note}"
    yield f"```kotlin\n{KOTLIN.format(**facts)}\n```"
    yield f"```swift\n{SWIFT.format(**facts)}\n```"


def _litert(run: ExportRun, row: Mapping[str, Any]) -> Iterator[str]:
    whole = row["precision"] == "float32"
    kind = "Float32" if whole else "int8"
    facts = _facts(run, row) | {"array": "FloatArray" if whole else "ByteArray", "what": kind}
    steps = ", and that / scale + zero_point of `litert.getInputTensor(0).quantizationParams()`"
    then = "" if whole else f"{steps}, rounded"
    yield (
        f"LiteRT in Kotlin. `pixels` are {kind}, row by row, the colours of a pixel together, each "
        f"{_normalised(run, facts)}{then}."
    )
    yield f"```kotlin\n{LITERT.format(**facts)}\n```"
