"""Tasks cut out of an image set: training, validation and test examples of some of its classes.

Everything is done with row numbers, so the three parts are disjoint by construction and nothing is copied
before a task's own bytes go to the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .image_set import ImageSet, channel_statistics
from .images import ImageExamples, Pipeline
from .options import LoadOptions
from .sampling import drawn_test, pixel_orders, split_rows
from .task import Task

STREAMED_FROM = 2**30
"""Data sets of more bytes than this are streamed, unless the options say otherwise."""


@dataclass(frozen=True)
class Parts:
    """An image set and its three parts, from which tasks are cut.

    Attributes:
        images: Pixels and labels.
        train: Row numbers of the training examples, ascending; likewise the next two, all disjoint.
        validation: Row numbers of the validation examples.
        test: Row numbers of the test examples.
        pipeline: How stored images become inputs.
        options: Device, and whether to stream.
    """

    images: ImageSet
    train: Tensor
    validation: Tensor
    test: Tensor
    pipeline: Pipeline
    options: LoadOptions

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input of the tasks."""
        return self.pipeline.shape(self.images.image_shape)

    def task(self, name: str, classes: Sequence[int] | None = None) -> Task:
        """The task of telling these classes apart (default: all); labels are positions in ``classes``."""
        every = len(self.images.classes)
        chosen = torch.arange(every) if classes is None else torch.tensor(classes)
        position = torch.full((every,), -1, dtype=torch.int64)
        position[chosen] = torch.arange(len(chosen))
        parts = (self._examples(rows, position) for rows in (self.train, self.validation, self.test))
        return Task(name, len(chosen), *parts)

    def permuted(self, num_tasks: int, seed: int) -> tuple[Task, ...]:
        """Tasks of all classes, each with its own drawn order of the pixels; at most ``options.tasks``."""
        orders = pixel_orders(num_tasks, math.prod(self.images.image_shape), seed)
        return tuple(
            replace(self, pipeline=replace(self.pipeline, permutation=pixels)).task(f"pixel order {number}")
            for number, pixels in enumerate(orders[: self.options.tasks])
        )

    def _examples(self, rows: Tensor, position: Tensor) -> ImageExamples:
        labels = position[self.images.labels[rows]]
        rows, labels = rows[labels >= 0], labels[labels >= 0]
        pixels, device = self.images.images, self.options.device
        streamed = pixels.nbytes > STREAMED_FROM if self.options.stream is None else self.options.stream
        if streamed:
            return ImageExamples(pixels, labels, self.pipeline, rows=rows, device=device)
        return ImageExamples(pixels[rows].to(device), labels, self.pipeline)


def prepare(images: ImageSet, seed: int, options: LoadOptions, *, side: int | None = None, flip: bool = True) -> Parts:
    """Split an image set into three parts and compute its statistics.

    Tests are those marked in the set; validation examples are drawn from the rest; both of these are thinned
    to ``options.fraction``. Inputs are normalised by the statistics of the training rows alone. Augmentation shifts by
    up to an eighth of the side (4 of CIFAR's 32 pixels), and mirrors.

    Args:
        images: The set.
        seed: Draws the validation examples and what is thinned out.
        options: Shares, device, augmentation.
        side: Pad smaller images with black to this many pixels.
        flip: Whether a mirrored image still shows the same class (not so for letters and digits).

    Raises:
        ValueError: If nothing is left for testing or for training, or images that are padded or augmented are not
            square.
    """
    if images.is_test.all() or not images.is_test.any():
        tests = int(images.is_test.sum())
        raise ValueError(f"{images.name} needs both: {len(images) - tests} training and {tests} test images found")
    train, validation, test = split_rows(images.labels, images.is_test, images.is_validation, seed, options)
    pipeline = Pipeline(*channel_statistics(images.images, train))
    _, height, width = images.image_shape
    if side is not None:
        if height != width or height > side or (side - height) % 2:
            raise ValueError(f"{images.name}: images of {height} x {width} cannot be padded to {side}")
        pipeline = replace(pipeline, pad=(side - height) // 2)
    if options.augment:
        if height != width:
            raise ValueError(f"{images.name}: augmentation needs square images, these are {height} x {width}")
        crop = side or height
        pipeline = replace(pipeline, pad=pipeline.pad + crop // 8, crop=crop, augment=True, flip=flip)
    return Parts(images, train, validation, test, pipeline, options)


def with_drawn_test(images: ImageSet, share: float, seed: int) -> ImageSet:
    """The same images with a new test split: a drawn share of every class, of what is not for validation."""
    return replace(images, is_test=drawn_test(images.labels, images.is_validation, share, seed))
