"""Handwritten digits that ship with scikit-learn: benchmarks of a few seconds that need no download.

1,797 images of 8x8 pixels. Three sequences: split (new digits each task), permuted (new pixel order each
task) and rotated (new angle each task). The seed draws the order of the tasks and the three parts of each.
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
from .sampling import order, partition
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

    Example:
        >>> sequence = digits(options=LoadOptions(tasks=2))
        >>> [(task.name, task.num_classes) for task in sequence.tasks]
        [('digits 6 7', 2), ('digits 0 8', 2)]
        >>> next(sequence.tasks[0].train.batches(32))[0].shape
        torch.Size([32, 1, 8, 8])
    """
    options = options or LoadOptions()
    parts = prepare(load_digits(options.seed_of_tests(seed)), seed, options, flip=False)
    classes = order(NUM_DIGITS, seed, "class order")
    tasks = tuple(
        parts.task("digits " + " ".join(map(str, group)), group)
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

    Example:
        >>> [task.name for task in permuted_digits(num_tasks=2).tasks]
        ['pixel order 0', 'pixel order 1']
    """
    options = options or LoadOptions()
    parts = prepare(load_digits(options.seed_of_tests(seed)), seed, options, flip=False)
    record = {"seed": seed, **options.scaled_down(num_tasks)}
    return TaskSequence("permuted-digits", parts.permuted(num_tasks, seed), SHAPE, record)


def rotated_digits(seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 6) -> TaskSequence:
    """All ten digits in every task, each task at its own angle.

    Args:
        seed: Draws the order of the angles and the three parts.
        options: Scale, device and so on.
        num_tasks: Number of angles, spread evenly over a half turn.

    Example:
        >>> sorted(task.name for task in rotated_digits(num_tasks=2).tasks)
        ['0 degrees', '90 degrees']
    """
    options = options or LoadOptions()
    parts = prepare(load_digits(options.seed_of_tests(seed)), seed, options, flip=False)
    angles = [180.0 * position / num_tasks for position in order(num_tasks, seed, "task order")]
    tasks = []
    for angle in angles[: options.tasks]:
        images = replace(parts.images, images=rotate(parts.images.images, angle))
        tasks.append(replace(parts, images=images).task(f"{angle:g} degrees"))
    record = {"seed": seed, "angles_degrees": angles, **options.scaled_down(num_tasks)}
    return TaskSequence("rotated-digits", tuple(tasks), SHAPE, record)


def load_digits(seed: int) -> ImageSet:
    """The 1,797 images, scaled from 0..16 to 0..255, with a quarter of every class drawn for testing.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    bunch = require("sklearn.datasets", extra="demo").load_digits()
    images = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    none = torch.zeros(len(labels), dtype=torch.bool)
    whole = ImageSet("digits", images, labels, none, tuple(map(str, range(NUM_DIGITS))))
    return with_drawn_test(whole, TEST_SHARE, seed)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate uint8 images of shape ``(N, C, H, W)`` anticlockwise about their centre, bilinearly.

    New corners are black.

    Example:
        >>> rotate(torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8), 90).tolist()
        [[[[2, 4], [1, 3]]]]
    """
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
    grid = functional.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    turned = functional.grid_sample(images.float(), grid, align_corners=False)
    return turned.round().to(torch.uint8)
