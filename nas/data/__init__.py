"""Data sets, splits and batches."""

from nas.data.augment import Batches
from nas.data.dataset import ImageData, load_data
from nas.data.splits import Split

__all__ = ["Batches", "ImageData", "Split", "load_data"]
