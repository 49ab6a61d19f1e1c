"""TFLite models (Android's LiteRT) straight from layers, in float32 or int8: `model.py`."""
