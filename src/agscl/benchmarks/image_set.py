"""Labelled images of one data set, as bytes: what the cache holds and tasks are cut from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 2048
"""Images read at a time when a whole set is gone through."""

IMAGE_DIMS = 4


@dataclass(frozen=True)
class ImageSet:
    """Images of one data set with their classes and the official split.

    Attributes:
        name: Name of the data set.
        images: uint8, shape ``(N, C, H, W)``; in memory or a memory map.
        labels: int64, shape ``(N,)``, positions in ``classes``.
        is_test: bool, shape ``(N,)``: which images the official split keeps for testing (none, if there is
            no official split).
        classes: Names of the classes.
        fingerprint: Digest of the data that were loaded, empty if they were made on the spot.
        is_validation: bool, shape ``(N,)``: which images the source keeps for validation; `None`: it does not say.
        notes: What was found besides good images, for people.
    """

    name: str
    images: Tensor
    labels: Tensor
    is_test: Tensor
    classes: tuple[str, ...]
    fingerprint: str = ""
    is_validation: Tensor | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.dtype != torch.uint8 or self.images.ndim != IMAGE_DIMS:
            raise ValueError(f"{self.name}: images must be uint8 (N, C, H, W), not {self.images.shape}")
        if self.labels.shape != (count,) or self.is_test.shape != (count,):
            raise ValueError(f"{self.name}: {count} images need as many labels and split marks")
        if self.is_validation is not None and (self.is_validation & self.is_test).any():
            raise ValueError(f"{self.name}: an image is for validation and for testing at once")
        if count and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise ValueError(f"{self.name}: a label is not one of the {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one stored image, ``(C, H, W)``."""
        _, channels, height, width = self.images.shape
        return channels, height, width


def channel_statistics(images: Tensor, rows: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over some images and all their pixels.

    Exact up to rounding, from counts of the 256 values; reads a chunk of images at a time.

    Args:
        images: uint8, shape ``(N, C, H, W)``.
        rows: Which images, int64 of shape ``(M,)``, at least one.

    Returns:
        Means and standard deviations in units of the full range (0 to 1), one of each per channel.

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> channel_statistics(images, torch.arange(2))
        ((0.5,), (0.5,))
    """
    if not len(rows):
        raise ValueError("channel statistics need at least one image")
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for chunk in torch.split(rows, CHUNK):
        for channel, pixels in enumerate(images[chunk].transpose(0, 1).flatten(1)):
            counts[channel] += torch.bincount(pixels, minlength=256).cpu()
    share = counts / counts.sum(dim=1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ values
    variance = share @ values.square() - mean.square()
    std = variance.clamp(min=1 / 255**2).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())
