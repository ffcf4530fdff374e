"""Batches: every example once, as uint8 arithmetic says, the same from memory and from the disk."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from agscl.benchmarks.image_set import channel_statistics
from agscl.benchmarks.images import ImageExamples, Pipeline

PLAIN = Pipeline((0.5,), (0.25,))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(count, channels=1, side=8):
    """Images that can be told apart: image n is n everywhere, labels are n."""
    values = torch.arange(count, dtype=torch.uint8)
    return values.view(-1, 1, 1, 1).expand(count, channels, side, side).contiguous(), values.long()


@given(count=st.integers(0, 50), batch_size=st.integers(1, 60), seed=st.none() | st.integers(0, 9))
def test_every_example_comes_once_with_its_own_label(count, batch_size, seed):
    images, labels = numbered(count)
    examples = ImageExamples(images, labels, PLAIN)
    drawn = None if seed is None else generator(seed)
    batches = list(examples.batches(batch_size, generator=drawn))
    assert all(len(y) == batch_size for _, y in batches[:-1])
    seen = torch.cat([y for _, y in batches]) if batches else labels
    assert sorted(seen.tolist()) == list(range(count)) == list(range(len(examples)))
    for x, y in batches:
        assert torch.equal(x[:, 0, 0, 0], (y / 255 - 0.5) / 0.25)


def test_stored_order_without_a_generator_and_the_generators_order_with_it():
    images, labels = numbered(40)
    examples = ImageExamples(images, labels, PLAIN)
    orders = [
        torch.cat([y for _, y in examples.batches(7, generator=g)]).tolist()
        for g in (None, generator(1), generator(1), generator(2))
    ]
    assert orders[0] == list(range(40))
    assert orders[1] == orders[2]
    assert len({tuple(order) for order in orders}) == 3


def test_rows_of_a_memory_map_give_the_same_batches_as_a_copy_in_memory(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    rows, labels = torch.tensor([3, 5, 8, 20, 29]), torch.arange(5)
    pipeline = Pipeline((0.4, 0.5, 0.6), (0.2, 0.2, 0.2), pad=1, crop=8, augment=True, flip=True)
    streamed = ImageExamples(mapped, labels, pipeline, rows=rows)
    resident = ImageExamples(mapped[rows].clone(), labels, pipeline)
    for drawn in (None, 4):
        one, two = (
            list(examples.batches(2, generator=None if drawn is None else generator(drawn)))
            for examples in (streamed, resident)
        )
        for (x, y), (other_x, other_y) in zip(one, two, strict=True):
            assert torch.equal(x, other_x)
            assert torch.equal(y, other_y)


def test_evaluation_is_never_augmented():
    images = torch.randint(0, 256, (10, 3, 16, 16), dtype=torch.uint8, generator=generator())
    plain = Pipeline((0.5,) * 3, (0.25,) * 3)
    augmented = Pipeline((0.5,) * 3, (0.25,) * 3, pad=2, crop=16, augment=True, flip=True)
    zoomed = Pipeline((0.5,) * 3, (0.25,) * 3, resize=16, flip=True, zoom=True)
    expected = plain(images)
    assert torch.equal(augmented(images), expected)
    assert torch.equal(zoomed(images), expected)
    assert not torch.equal(augmented(images, generator()), expected)
    assert not torch.equal(zoomed(images, generator()), expected)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), pad=st.integers(1, 3))
def test_a_shifted_image_is_a_window_of_the_padded_one_perhaps_mirrored(seed, pad):
    images = torch.randint(1, 256, (6, 2, 8, 8), dtype=torch.uint8, generator=generator(seed))
    pipeline = Pipeline((0.0, 0.0), (1.0, 1.0), pad=pad, crop=8, augment=True, flip=True)
    for image, result in zip(images, (pipeline(images, generator(seed)) * 255).round().byte(), strict=True):
        sides = (functional.pad(x, (pad,) * 4) for x in (image, image.flip(2)))
        windows = [
            side[:, top : top + 8, left : left + 8]
            for side in sides
            for top in range(2 * pad + 1)
            for left in range(2 * pad + 1)
        ]
        assert any(torch.equal(result, window) for window in windows)


def test_about_half_of_the_images_are_mirrored():
    images = torch.arange(8, dtype=torch.uint8).expand(1000, 1, 8, 8)
    inputs = Pipeline((0.0,), (1.0,), flip=True)(images, generator())
    mirrored = (inputs[:, 0, 0, 0] > 0).float().mean()
    assert 0.4 < mirrored < 0.6


def test_a_zoomed_plain_image_keeps_its_colour():
    images = torch.full((5, 1, 20, 20), 51, dtype=torch.uint8)
    inputs = Pipeline((0.0,), (1.0,), resize=12, zoom=True)(images, generator())
    assert inputs.shape == (5, 1, 12, 12)
    assert torch.allclose(inputs, torch.tensor(0.2))


def test_small_grey_images_become_padded_colour_inputs():
    images = torch.full((2, 1, 28, 28), 255, dtype=torch.uint8)
    pipeline = Pipeline((0.0,), (1.0,), channels=3, pad=2)
    inputs = pipeline(images)
    assert inputs.shape == (2, 3, 32, 32) == (2, *pipeline.shape((1, 28, 28)))
    assert inputs[:, :, 2:30, 2:30].eq(1).all()
    assert inputs.sum() == 2 * 3 * 28 * 28


def test_the_middle_is_cut_out_and_scaled():
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    images[:, :, 2:14, 2:14] = 255
    pipeline = Pipeline((0.0,) * 3, (1.0,) * 3, crop=12, resize=6)
    assert pipeline(images).shape == (1, 3, 6, 6) == (1, *pipeline.shape((3, 16, 16)))
    assert torch.allclose(pipeline(images), torch.ones(1))


def test_a_pixel_order_moves_pixels_and_nothing_else():
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    order = torch.randperm(64, generator=generator())
    inputs = Pipeline((0.0,), (1.0,), permutation=order)(images)
    assert torch.equal((inputs.flatten() * 255).round().long(), order)


@given(seed=st.integers(0, 99), count=st.integers(1, 6), channels=st.integers(1, 3))
def test_channel_statistics_equal_numpys(seed, count, channels):
    pixels = np.random.default_rng(seed).integers(0, 256, (count + 2, channels, 5, 4), dtype=np.uint8)
    rows = torch.arange(1, count + 1)
    mean, std = channel_statistics(torch.from_numpy(pixels), rows)
    chosen = pixels[1 : count + 1] / 255
    assert np.allclose(mean, chosen.mean(axis=(0, 2, 3)))
    assert np.allclose(std, chosen.std(axis=(0, 2, 3)))


def test_plain_images_have_a_usable_deviation():
    assert channel_statistics(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.arange(2)) == ((0.0,), (1 / 255,))


def test_unusable_arguments_are_refused():
    images, labels = numbered(4)
    with pytest.raises(ValueError, match="uint8"):
        ImageExamples(images.float(), labels, PLAIN)
    with pytest.raises(ValueError, match="4 images but 3 labels"):
        ImageExamples(images, labels[:3], PLAIN)
    with pytest.raises(ValueError, match="batch_size"):
        next(ImageExamples(images, labels, PLAIN).batches(0))
    with pytest.raises(ValueError, match="positive std"):
        Pipeline((0.0,), (0.0,))
    with pytest.raises(ValueError, match="2 channels cannot become 3"):
        Pipeline((0.0, 0.0), (1.0, 1.0), channels=3)
    with pytest.raises(ValueError, match="at least one image"):
        channel_statistics(images, torch.arange(0))
