"""Image files as arrays of one size, a batch at a time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import Piece
from agscl.extras import require

from .source import Shape

BATCH = 256
MAX_PIXELS = 80_000_000
PIXELS_PER_BYTE = 2000
"""A file that announces more than this for each of its bytes does not hold them."""
ALWAYS_ALLOWED = 2**24
"""Pixels that any file may announce."""
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "WEBP", "TIFF")
"""What is tried; Pillow knows many more, and some of them start other programs."""
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".webp", ".tif", ".tiff"})

Fit = Literal["crop", "stretch"]


@dataclass(frozen=True)
class Sample:
    """One image file, its class, and its side of the split."""

    path: Path
    label: int
    is_test: bool


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def decoded(samples: Sequence[Sample], shape: Shape, *, fit: Fit = "stretch", invert: bool = False) -> Iterator[Piece]:
    """Read image files.

    Args:
        samples: What to read, in order.
        shape: ``(C, H, W)`` of the result; one channel is grey, three are red, green and blue.
        fit: ``"stretch"`` scales both sides; ``"crop"`` scales the shorter side and cuts the middle out.
        invert: Swap black and white.

    Raises:
        DataError: If a file is missing, truncated or not an image; names the file.
    """
    pillow = require("PIL.Image", extra="vision")
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        images = np.stack([_read(pillow, sample.path, shape, fit) for sample in batch])
        labels = np.array([sample.label for sample in batch], np.int64)
        marks = np.array([sample.is_test for sample in batch], np.bool_)
        yield Piece(255 - images if invert else images, labels, marks)


def _read(pillow: Any, path: Path, shape: Shape, fit: Fit) -> NDArray[np.uint8]:
    channels, height, width = shape
    try:
        content = io.BytesIO(path.read_bytes())  # gives what it has; a file takes the memory that is asked for first
        with warnings.catch_warnings(action="ignore"), pillow.open(content, formats=FORMATS) as image:
            if image.width * image.height > min(MAX_PIXELS, max(ALWAYS_ALLOWED, PIXELS_PER_BYTE * path.stat().st_size)):
                raise DataError(f"{path} has {image.width} x {image.height} pixels: refused")
            whole = image.convert("L" if channels == 1 else "RGB")
        box = _middle(whole.width, whole.height, width / height) if fit == "crop" else None
        resized = whole.resize((width, height), pillow.Resampling.BILINEAR, box=box)
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is missing, truncated or not an image: {error}") from error
    pixels: NDArray[np.uint8] = np.asarray(resized).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1)


def _middle(width: int, height: int, ratio: float) -> tuple[float, float, float, float]:
    """The largest box of this width-to-height ratio in the middle of an image."""
    wide, high = min(width, height * ratio), min(height, width / ratio)
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high
