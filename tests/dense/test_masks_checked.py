"""Masks that could not teach what their classes say are an error before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest
from annotated_files import write_masks
from PIL import Image

from nas.core.errors import UserError
from nas.data.dense import load_dense

ALL, TRAIN, VAL, TEST = "*", "train", "val", "test"


def loaded(top, **more):
    return load_dense("masks", root=str(top), resolution=32, **more)


def rewritten(top, change, split=ALL):
    """The folder of `write_masks` with other numbers in the masks of a split."""
    if not top.joinpath("classes.txt").exists():
        write_masks(top)
    for file in top.glob(f"{split}/masks/*.png"):
        Image.fromarray(change(np.asarray(Image.open(file)).copy())).save(file)
    return top


def black_and_white(mask):
    return np.where((mask == 1) | (mask == 2), 255, 0).astype(np.uint8)


def test_masks_of_0_and_255_are_no_class_and_its_void(tmp_path):
    rewritten(tmp_path, black_and_white)
    with pytest.raises(UserError, match=r"train hold only 0 and 255,.*none is of 1 \(disc\)") as e:
        loaded(tmp_path, classes="nothing,disc")
    assert "store the numbers of classes, as 0 and 1" in str(e.value)
    assert "\n" not in str(e.value)


def test_one_class_that_is_named_is_too_few(tmp_path):
    rewritten(tmp_path, black_and_white)
    with pytest.raises(UserError, match=r"there is one class \(disc\) beside pixels of 255"):
        loaded(tmp_path, classes="disc")


def test_masks_of_0_and_1_have_two_classes(tmp_path):
    rewritten(tmp_path, lambda mask: black_and_white(mask) // 255)
    assert set(loaded(tmp_path, classes="nothing,disc").train.labels.unique().tolist()) == {0, 1}


def test_a_class_that_no_training_mask_has_is_counted(tmp_path):
    rewritten(tmp_path, lambda mask: np.where(mask == 2, 0, mask), TRAIN)
    assert loaded(tmp_path).faults == "1 classes without a pixel to train with (bar)"


def test_a_single_class_is_an_error(tmp_path):
    rewritten(tmp_path, np.zeros_like, TRAIN)
    with pytest.raises(UserError, match=r"masks of train is of 1 \(disc\), 2 \(bar\), and two"):
        loaded(tmp_path)


def test_a_class_that_other_splits_lack_is_none(tmp_path):
    rewritten(tmp_path, lambda mask: np.where(mask == 2, 0, mask), VAL)
    assert loaded(tmp_path).classes == ("nothing", "disc", "bar")


def test_a_class_whose_number_is_void_needs_no_pixel(tmp_path):
    rewritten(tmp_path, lambda mask: np.where(mask == 255, 0, mask))
    assert len(loaded(tmp_path, void=0).train) == 12


@pytest.mark.parametrize("split", [TRAIN, VAL, TEST])
def test_a_split_that_is_void_throughout_is_an_error(split, tmp_path):
    rewritten(tmp_path, lambda mask: np.full_like(mask, 255), split)
    with pytest.raises(UserError, match=f"every pixel of the masks of {split} is 255"):
        loaded(tmp_path)
