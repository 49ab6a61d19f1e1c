"""A model's answer to one picture, with ONNX Runtime alone: answer.py model.onnx picture."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
facts = {k: v for k, v in session.get_modelmeta().custom_metadata_map.items() if v[:1] in "[{"}
mean, std = (np.array(json.loads(facts[key]), np.float32) for key in ("mean", "std"))
side = session.get_inputs()[0].shape[-1]
pixels = Image.open(sys.argv[2]).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
image = ((np.asarray(pixels, np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None]
names = [output.name for output in session.get_outputs()]
answers = zip(names, session.run(None, {"image": image}), strict=True)
print(json.dumps({name: np.asarray(value).tolist() for name, value in answers}))
