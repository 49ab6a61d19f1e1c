"""How the files are loaded, in Python, Kotlin and Swift."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.data.decoding import EIGHT_BITS
from nas.export.setup import ExportRun

PICTURE = """\
import json, numpy, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("{file}")
facts = session.get_modelmeta().custom_metadata_map
classes, mean, std = (json.loads(facts[key]) for key in ("classes", "mean", "std"))
picture = Image.open("picture.jpg"){convert}
picture = ImageOps.fit(picture, ({side}, {side}), Image.Resampling.BICUBIC)  # the centre square
"""
BYTES = """\
image = numpy.array(picture).reshape(1, {side}, {side}, {channels})
"""
NORMALISED = """\
image = (numpy.array(picture).reshape({side}, {side}, {channels}) {scaled} - mean) / std
image = image.transpose(2, 0, 1)[None].astype(numpy.float32)
"""
ANSWER = """\
logits = session.run(None, {{"image": image}})[0][0]
print(classes[logits.argmax()])"""
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
    for ending in (".onnx", ".tflite"):
        own = [row for row in rows if row["file"].endswith(ending)]
        if own:
            row = min(own, key=lambda row: row["latency_ms"])
            yield from _onnx(run, row) if ending == ".onnx" else _litert(run, row)


def _facts(run: ExportRun, row: Mapping[str, Any]) -> dict[str, Any]:
    side, channels = run.arch.resolution, run.arch.channels
    low, high = json.loads(run.facts["range"])
    eight = (low, high) == EIGHT_BITS
    return {
        "file": row["file"],
        "side": side,
        "channels": channels,
        "convert": f'.convert("{"RGB" if channels == 3 else "L"}")' if eight else "",
        "scaled": "/ 255" if eight else f"/ {high - low:g} - {low / (high - low):g}",
        "classes": len(run.classes),
    }


def _onnx(run: ExportRun, row: Mapping[str, Any]) -> Iterator[str]:
    facts, taken = _facts(run, row), run.settings.preprocess
    side, channels = facts["side"], facts["channels"]
    number = 1 if run.settings.batch == "free" else run.settings.batch
    if taken:
        facts |= {"kotlin": "ByteBuffer.wrap(pixels)", "kotlin_type": ", OnnxJavaType.UINT8"}
        facts |= {"swift": "NSMutableData(data: pixels)", "swift_type": ".uInt8"}
        facts["shape"] = f"{number}, {side}, {side}, {channels}"
        note = "`pixels` are bytes, row by row, the colours of a pixel together."
    else:
        facts |= {"kotlin": "FloatBuffer.wrap(pixels)", "kotlin_type": ""}
        facts |= {"swift": "NSMutableData(data: pixels)", "swift_type": ".float"}
        facts["shape"] = f"{number}, {channels}, {side}, {side}"
        note = (
            "`pixels` are Float32, one colour after the other, each (value "
            f"{facts['scaled']} - mean) / std with mean {run.facts['mean']} and std "
            f"{run.facts['std']}."
        )
    middle = BYTES if taken else NORMALISED
    python = PICTURE + middle + ANSWER
    yield "Python:"
    yield f"```python\n{python.format(**facts)}\n```"
    yield f"Kotlin and Swift. {note}"
    yield f"```kotlin\n{KOTLIN.format(**facts)}\n```"
    yield f"```swift\n{SWIFT.format(**facts)}\n```"


def _litert(run: ExportRun, row: Mapping[str, Any]) -> Iterator[str]:
    whole = row["precision"] == "float32"
    facts = _facts(run, row) | {
        "array": "FloatArray" if whole else "ByteArray",
        "what": "Float32, normalised as above"
        if whole
        else "int8, scale and zero point as in litert.getInputTensor(0).quantizationParams()",
    }
    yield "LiteRT in Kotlin:"
    yield f"```kotlin\n{LITERT.format(**facts)}\n```"
