"""Images as uint8 tensors; everything else (normalising, padding, cropping) happens per batch, vectorised.

A batch is gathered by index, sent to the device as bytes and prepared there: no per-sample Python, and a
quarter of the memory of floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .image_set import IMAGE_DIMS
from .sampling import in_batches
from .task import Batch


@dataclass(frozen=True)
class Pipeline:
    """How stored images become inputs, in the order of the attributes.

    Attributes:
        mean: Mean of each stored channel, in units of the full range (0 to 1).
        std: Standard deviation of each stored channel, same units.
        channels: Repeat a single channel this many times.
        pad: Black pixels added on each side (before cropping).
        crop: Side of the square cut out of the middle, or at random positions when augmenting.
        resize: Side to which the result is scaled (bilinear, antialiased).
        augment: Crop at random positions, where a generator is given; else always in the middle.
        flip: Mirror half of the images, where a generator is given.
        zoom: Where a generator is given, do not pad and crop but cut out boxes of random size and shape,
            scaled to ``resize``.
        permutation: Order of the pixels of an image, shape ``(H * W,)``: permuted MNIST.

    Example:
        >>> pipeline = Pipeline(mean=(0.5,), std=(0.25,), pad=2)
        >>> pipeline(torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)).shape
        torch.Size([1, 1, 32, 32])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 1
    pad: int = 0
    crop: int | None = None
    resize: int | None = None
    augment: bool = False
    flip: bool = False
    zoom: bool = False
    permutation: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError(f"each channel needs a mean and a positive std, got {self.mean} and {self.std}")
        if self.channels > 1 and len(self.mean) not in (1, self.channels):
            raise ValueError(f"{len(self.mean)} channels cannot become {self.channels}, one could")

    def shape(self, stored: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of an input made from a stored image of shape ``(C, H, W)``."""
        channels, height, width = stored
        height, width = (self.resize or self.crop or side + 2 * self.pad for side in (height, width))
        return max(channels, self.channels), height, width

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Prepare a batch.

        Args:
            images: uint8, shape ``(B, C, H, W)``.
            generator: CPU generator of the augmentation; none: no augmentation.

        Returns:
            float32, shape ``(B, *self.shape((C, H, W)))``.
        """
        if self.permutation is not None:
            images = images.flatten(2)[:, :, self.permutation.to(images.device)].view_as(images)
        if self.flip and generator is not None:
            mirrored = torch.randint(2, (len(images),), generator=generator).bool().to(images.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.zoom and self.resize is not None and generator is not None:
            pixels = _random_zoom(images.float(), self.resize, generator)
        else:
            pixels = self._cut(images, generator).float()
            if self.resize not in (None, pixels.shape[-1]):
                pixels = functional.interpolate(pixels, size=(self.resize,) * 2, mode="bilinear", antialias=True)
        mean, std = (pixels.new_tensor(values).view(1, -1, 1, 1) * 255 for values in (self.mean, self.std))
        inputs = pixels.sub_(mean).div_(std)
        return inputs.expand(-1, max(self.channels, inputs.shape[1]), -1, -1)

    def _cut(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        images = functional.pad(images, (self.pad,) * 4) if self.pad else images
        if self.crop is None:
            return images
        if self.augment and generator is not None:
            windows = images.unfold(2, self.crop, 1).unfold(3, self.crop, 1)
            tops, lefts = (
                torch.randint(places, (len(images),), generator=generator).to(images.device)
                for places in windows.shape[2:4]
            )
            return windows[torch.arange(len(images), device=images.device), :, tops, lefts]
        top, left = ((side - self.crop) // 2 for side in images.shape[2:])
        return images[:, :, top : top + self.crop, left : left + self.crop]


def _random_zoom(pixels: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Cut a box of random area and shape out of each image and scale it to ``side`` pixels, bilinearly.

    Areas are 8 to 100 % of the image, shapes 3:4 to 4:3, as in torchvision's ``RandomResizedCrop``; a box
    that would not fit is made to.
    """
    area, shape, left, top = torch.rand(4, len(pixels), generator=generator)
    area = 0.08 + 0.92 * area
    ratio = torch.exp((2 * shape - 1) * math.log(4 / 3))
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    boxes = torch.zeros(len(pixels), 2, 3)
    boxes[:, 0, 0], boxes[:, 0, 2] = wide, (1 - wide) * (2 * left - 1)
    boxes[:, 1, 1], boxes[:, 1, 2] = high, (1 - high) * (2 * top - 1)
    grid = functional.affine_grid(
        boxes.to(pixels.device), [len(pixels), pixels.shape[1], side, side], align_corners=False
    )
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


class ImageExamples:
    """Examples of one part of a task, in memory or in a memory map.

    Args:
        images: uint8, shape ``(N, C, H, W)``; on the training device, or a CPU memory map to stream from.
        labels: Integers of shape ``(M,)``, one for each of ``rows``.
        pipeline: How a batch of images becomes inputs.
        rows: Which images are meant, int64 of shape ``(M,)``; all of them when not given.
        device: Where batches are prepared and delivered; default: where ``images`` are.

    Raises:
        ValueError: If the images are of another type or shape, or their number is not that of the labels.

    Example:
        >>> images, labels = torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5)
        >>> examples = ImageExamples(images, labels, Pipeline(mean=(0.5,), std=(0.25,)))
        >>> [len(labels) for _, labels in examples.batches(2)]
        [2, 2, 1]
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        pipeline: Pipeline,
        *,
        rows: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        count = len(images) if rows is None else len(rows)
        if images.dtype != torch.uint8 or images.ndim != IMAGE_DIMS:
            raise ValueError(f"images must be uint8 (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
        if len(labels) != count:
            raise ValueError(f"{count} images but {len(labels)} labels")
        self.device = torch.device(images.device if device is None else device)
        self.images = images
        self.rows = None if rows is None else rows.to(images.device)
        self.labels = labels.to(self.device, torch.int64)
        self.pipeline = pipeline

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input, ``(C, H, W)``."""
        _, channels, height, width = self.images.shape
        return self.pipeline.shape((channels, height, width))

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, *, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield every example once, shuffled and augmented by ``generator``, one of the CPU, when it is given.

        The whole order is drawn when the first batch is asked for, augmentation batch by batch.
        """
        for positions in in_batches(len(self), batch_size, generator, self.images.device):
            rows = positions if self.rows is None else self.rows[positions]
            yield self.pipeline(self.images[rows].to(self.device), generator), self.labels[positions.to(self.device)]
