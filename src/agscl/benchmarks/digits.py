"""Handwritten digits that ship with scikit-learn: benchmarks of a few seconds that need no download.

1,797 images of 8x8 pixels. Three sequences: split (new digits each task), permuted (new pixel order each
task) and rotated (new angle each task).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from agscl.extras import require

from .image_set import ImageSet
from .options import LoadOptions
from .sampling import order, partition, pixel_orders
from .split import prepare, with_drawn_test
from .task import TaskSequence

NUM_DIGITS = 10
TEST_SHARE = 0.25
SHAPE = (1, 8, 8)


def digits(seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 5) -> TaskSequence:
    """Split digits: each task tells apart digits that no other task has seen.

    Args:
        seed: Draws the order of the digits (hence of the tasks) and the three parts.
        options: Scale, device and so on.
        num_tasks: 1, 2, 5 or 10; each task gets an equal share of the ten digits.
    """
    options = options or LoadOptions()
    source = prepare(load_digits(seed), seed, options, flip=False)
    classes = order(NUM_DIGITS, seed, "class order")
    tasks = tuple(
        source.task("digits " + " ".join(map(str, group)), group)
        for group in partition(classes, num_tasks)[: options.tasks]
    )
    record = {"seed": seed, "class_order": classes, **options.scaled_down(num_tasks)}
    return TaskSequence("digits", tasks, SHAPE, record)


def permuted_digits(seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 10) -> TaskSequence:
    """All ten digits in every task, each task with its own fixed order of the pixels.

    Args:
        seed: Draws the pixel orders and the three parts.
        options: Scale, device and so on.
        num_tasks: Number of pixel orders; the first is the natural one.
    """
    options = options or LoadOptions()
    source = prepare(load_digits(seed), seed, options, flip=False)
    tasks = tuple(
        replace(source, pipeline=replace(source.pipeline, permutation=pixels)).task(f"pixel order {number}")
        for number, pixels in enumerate(pixel_orders(num_tasks, math.prod(SHAPE), seed)[: options.tasks])
    )
    return TaskSequence("permuted-digits", tasks, SHAPE, {"seed": seed, **options.scaled_down(num_tasks)})


def rotated_digits(seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 6) -> TaskSequence:
    """All ten digits in every task, each task at its own angle.

    Args:
        seed: Draws the order of the angles and the three parts.
        options: Scale, device and so on.
        num_tasks: Number of angles, spread evenly over a half turn.
    """
    options = options or LoadOptions()
    source = prepare(load_digits(seed), seed, options, flip=False)
    angles = [180.0 * position / num_tasks for position in order(num_tasks, seed, "task order")]
    tasks = tuple(
        replace(source, images=_rotated(source.images, angle)).task(f"{angle:g} degrees")
        for angle in angles[: options.tasks]
    )
    record = {"seed": seed, "angles_degrees": angles, **options.scaled_down(num_tasks)}
    return TaskSequence("rotated-digits", tasks, SHAPE, record)


def load_digits(seed: int) -> ImageSet:
    """The 1,797 images, scaled from 0..16 to 0..255, with a quarter of every class drawn for testing."""
    bunch = require("sklearn.datasets", extra="demo").load_digits()
    images = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    none = torch.zeros(len(labels), dtype=torch.bool)
    whole = ImageSet("digits", images, labels, none, tuple(map(str, range(NUM_DIGITS))))
    return with_drawn_test(whole, TEST_SHARE, seed)


def _rotated(images: ImageSet, degrees: float) -> ImageSet:
    """The images turned anticlockwise about their centre, bilinearly, black where nothing was."""
    return replace(images, images=rotate(images.images, degrees))


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn uint8 images of shape ``(N, C, H, W)`` anticlockwise, bilinearly; new corners are black."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
    grid = functional.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    turned = functional.grid_sample(images.float(), grid, align_corners=False)
    return turned.round().to(torch.uint8)
