"""Batches: what they hold, in which order, and how they are augmented."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_files import squares

from nas.data import augment
from nas.data.augment import Batches
from nas.data.dataset import ImageData, load_data
from nas.data.share import Share

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def clothes() -> ImageData:
    return load_data("embedded")


def test_batches_are_normalised_and_in_order(clothes: ImageData) -> None:
    batches = Batches(clothes.val, clothes.mean, clothes.std, batch_size=300)
    got = list(batches.epoch(0))
    assert len(got) == len(batches) == 7
    assert [len(y) for _, y in got] == [300] * 6 + [200]
    x, y = torch.cat([x for x, _ in got]), torch.cat([y for _, y in got])
    assert torch.equal(y, clothes.val.labels)
    expected = (clothes.val.images / 255 - clothes.mean[0]) / clothes.std[0]
    torch.testing.assert_close(x, expected)


@given(st.integers(1, 40), st.integers(1, 50), st.booleans())
def test_batches_leave_out_only_a_partial_shuffled_one(
    number: int, size: int, shuffle: bool
) -> None:
    batches = Batches(squares(number, 2), (0.5,) * 3, (0.2,) * 3, batch_size=size, shuffle=shuffle)
    sizes = [len(y) for _, y in batches.epoch(1)]
    assert len(sizes) == len(batches)
    if shuffle and number >= size:
        assert sizes == [size] * (number // size)
    else:
        assert sum(sizes) == number
    labels = torch.cat([y for _, y in batches.epoch(1)])
    assert len(labels.unique()) == len(labels)


@pytest.mark.parametrize("side", [16, 64])
def test_epochs_depend_on_seed_and_number_only(side: int) -> None:
    split = squares(20, side)

    def epoch(seed: int, number: int) -> torch.Tensor:
        torch.manual_seed(torch.seed() % 1000)  # the global state has no say
        batches = Batches(
            split, (0.5,) * 3, (0.2,) * 3, batch_size=8, seed=seed, shuffle=True, augment=True
        )
        return torch.cat([x for x, _ in batches.epoch(number)])

    assert torch.equal(epoch(3, 5), epoch(3, 5))
    assert not torch.equal(epoch(3, 5), epoch(3, 6))
    assert not torch.equal(epoch(3, 5), epoch(4, 5))


def test_shifted_images_are_shifts_and_mirrors_of_the_image() -> None:
    images = squares(200, 16).images
    seen = set()
    moved = augment.shift(images, augment.generator(0, 0), flip=True)
    for before, after in zip(images, moved, strict=True):
        options = {}
        for dy in range(5):
            for dx in range(5):
                padded = torch.nn.functional.pad(before, (2, 2, 2, 2))
                crop = padded[:, dy : dy + 16, dx : dx + 16]
                options[crop.numpy().tobytes()] = (dy, dx, 0)
                options[crop.flip(-1).contiguous().numpy().tobytes()] = (dy, dx, 1)
        seen.add(options[after.contiguous().numpy().tobytes()])
    assert len(seen) > 40  # of 50
    straight = augment.shift(images, augment.generator(0, 0), flip=False)
    assert not torch.equal(straight, moved)


def test_enlarged_parts_lie_inside_and_cover_what_they_should() -> None:
    ramp = torch.linspace(-1, 1, 96)
    image = torch.stack([ramp.expand(96, 96), ramp[:, None].expand(96, 96)])  # x and y
    parts = augment.enlarge(image.expand(500, 2, 96, 96), augment.generator(0, 1), flip=True)
    width = (parts[:, 0, 0, -1] - parts[:, 0, 0, 0]) / 2  # signed by the mirror
    height = (parts[:, 1, -1, 0] - parts[:, 1, 0, 0]) / 2
    area = width.abs() * height
    assert (height > 0).all()
    assert 0.33 < area.min() < 0.45 < 0.85 < area.max() <= 1.001
    assert 200 < (width < 0).sum() < 300
    ratio = width.abs() / height
    assert 0.72 < ratio.min() < 0.85 < 1.18 < ratio.max() < 1.37
    straight = augment.enlarge(image.expand(50, 2, 96, 96), augment.generator(0, 1), flip=False)
    assert (straight[:, 0, 0, -1] > straight[:, 0, 0, 0]).all()


@pytest.mark.parametrize("side", [16, 64])
def test_a_batch_takes_one_copy_to_the_device(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen on torch's device without memory: each copy that is not pinned makes a GPU wait."""
    copies, to = [], torch.Tensor.to

    def counted(tensor: torch.Tensor, *where: object, **how: object) -> torch.Tensor:
        moved: torch.Tensor = to(tensor, *where, **how)  # type: ignore[call-overload]
        if moved.device != tensor.device:
            copies.append(how)
        return moved

    knobs = {"batch_size": 8, "augment": True, "shuffle": True, "device": "meta"}
    batches = Batches(squares(40, side), (0.5,) * 3, (0.2,) * 3, **knobs)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.Tensor, "to", counted)
    assert all(x.is_meta for x, _ in batches.epoch(0))
    once = [how for how in copies if not how]
    assert len(once) <= 2  # the epoch's order, for images and labels
    assert [how for how in copies if how] == [{"non_blocking": True}] * 5


def test_a_split_is_copied_to_a_device_once() -> None:
    split = squares(8, 4)
    first, second = (Batches(split, (0.5,) * 3, (0.2,) * 3, device="meta") for _ in range(2))
    assert first.images is second.images
    assert first.labels is second.labels
    assert Batches(split, (0.5,) * 3, (0.2,) * 3).images is split.images
    there = weakref.ref(first.images)
    del split, first, second
    gc.collect()
    assert there() is None


@pytest.mark.gpu
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_sees_the_same_images(resident: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    split = squares(40, 32)
    knobs = {"batch_size": 16, "augment": True, "shuffle": True}
    near = Batches(split, (0.5,) * 3, (0.2,) * 3, **knobs)  # type: ignore[arg-type]
    monkeypatch.setattr(augment, "fits_on", lambda images, device: resident)
    far = Batches(split, (0.5,) * 3, (0.2,) * 3, device="cuda", **knobs)  # type: ignore[arg-type]
    for (x, y), (far_x, far_y) in zip(near.epoch(0), far.epoch(0), strict=True):
        assert far_x.is_cuda
        torch.testing.assert_close(far_x.cpu(), x)
        assert torch.equal(far_y.cpu(), y)


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("processes", [2, 3])
def test_shares_are_the_rows_of_the_whole_batches(side: int, processes: int) -> None:
    split = squares(15, side)

    def epoch(rank: int = 0, of: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
        share, how = Share(rank, of), {"augment": True, "seed": 3}
        batches = Batches(split, (0.5,) * 3, (0.2,) * 3, batch_size=8, share=share, **how)
        return list(batches.epoch(1))

    for rank in range(processes):
        for whole, own in zip(epoch(), epoch(rank, processes), strict=True):
            for everything, part in zip(whole, own, strict=True):
                assert torch.equal(everything[rank::processes], part)
    parts = [Share(rank, processes).part(split) for rank in range(processes)]
    assert torch.equal(torch.cat([part.labels for part in parts]), split.labels)
    assert Share().part(split) is split
