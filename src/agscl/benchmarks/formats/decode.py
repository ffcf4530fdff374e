"""Image files as arrays of one size, a batch at a time: upright, on white, with 8 bits a channel.

Bits beyond 8 are rounded away (16 bits a channel: divided by 257), floats are scaled from 0..1 or taken as 0..255, what
is transparent is put on white, and photographs are turned as their EXIF says. What was done is counted.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.found import NAMED, Found
from agscl.benchmarks.raw import Piece
from agscl.benchmarks.regular import read_regular
from agscl.extras import require

from .source import Shape

BATCH = 256
MAX_PIXELS = 80_000_000
PIXELS_PER_BYTE = 2000
"""A file that announces more than this for each of its bytes does not hold them."""
ALWAYS_ALLOWED = 2**24
"""Pixels that any file may announce."""
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "DIB", "WEBP", "TIFF", "GIF")
"""What is tried; Pillow knows many more, and some of them start other programs."""

Fit = Literal["crop", "stretch"]

FULL, DEEP = 255, 65_535
"""The brightest value of 8 and of 16 bits."""

TWELVE_BITS = 4095
"""The brightest value of 12 bits."""

TURNED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
          7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip
"""Pillow's name of what puts an image upright, by EXIF's number of its orientation."""

DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error)
"""What Pillow raises on damaged files."""

ORIENTATION = 0x0112
"""EXIF's tag."""


@dataclass(frozen=True)
class Sample:
    """One image file, its class, and its side of the split."""

    path: Path
    label: int
    is_test: bool
    is_validation: bool = False


def decoded(
    samples: Sequence[Sample],
    shape: Shape,
    *,
    fit: Fit = "stretch",
    invert: bool = False,
    found: Found | None = None,
) -> Iterator[Piece]:
    """Read image files.

    Args:
        samples: What to read, in order.
        shape: ``(C, H, W)`` of the result; one channel is grey, three are red, green and blue.
        fit: ``"stretch"`` scales both sides; ``"crop"`` scales the shorter side and cuts the middle out.
        invert: Swap black and white.
        found: Told what was changed; without it images are not turned, as the originals of data sets are read.

    Raises:
        DataError: If files are missing, truncated or not images; names the first ones, when all were tried.
    """
    decoder = _Decoder(require("PIL.Image", extra="vision"), shape, fit, found)
    bad: list[DataError] = []
    for start in range(0, len(samples), BATCH):
        batch, arrays = samples[start : start + BATCH], []
        for sample in batch:
            try:
                arrays.append(decoder.read(sample.path))
            except DataError as error:
                bad.append(error)
        if not bad:
            images = np.stack(arrays)
            decoder.compare(batch, arrays)
            labels = np.array([sample.label for sample in batch], np.int64)
            marks = np.array([sample.is_test for sample in batch], np.bool_)
            aside = np.array([sample.is_validation for sample in batch], np.bool_)
            yield Piece(255 - images if invert else images, labels, marks, aside)
    if bad:
        more = f"; and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
        raise DataError("; ".join(map(str, bad[:NAMED])) + more)


@dataclass
class _Decoder:
    """Reads image files of one set, and knows how the floats of those before were scaled."""

    pillow: Any
    shape: Shape
    fit: Fit
    found: Found | None
    floats: dict[int, Path] = field(default_factory=dict)
    seen: dict[bytes, Sample] = field(default_factory=dict)

    def compare(self, batch: Sequence[Sample], arrays: Sequence[NDArray[np.uint8]]) -> None:
        """Remark images that are there twice and should not be: in two classes, or on both sides of the split."""
        for sample, pixels in zip(batch, arrays, strict=True):
            digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()
            first = self.seen.setdefault(digest, sample)
            if first.label != sample.label:
                self._remark("WARNING: the same as an image of another class", sample.path)
            elif first.is_test != sample.is_test:
                self._remark("WARNING: for testing and also for training", sample.path)

    def read(self, path: Path) -> NDArray[np.uint8]:
        """One image, shape ``(C, H, W)``."""
        channels, height, width = self.shape
        try:
            content = read_regular(path)  # as much as there is; a file that Pillow opens takes the memory it asks for
            with warnings.catch_warnings(action="ignore"), self._opened(path, content) as image:
                whole = self._plain(image, path).convert("L" if channels == 1 else "RGB")
            box = _middle(whole.width, whole.height, width / height) if self.fit == "crop" else None
            resized = whole.resize((width, height), self.pillow.Resampling.BILINEAR, box=box)
        except (*DAMAGE, self.pillow.DecompressionBombError) as error:
            if isinstance(error, DataError):
                raise
            reason = str(error)
            if isinstance(error, self.pillow.UnidentifiedImageError):
                reason = f"it is none of {', '.join(FORMATS)}"
            elif isinstance(error, OSError) and error.strerror:
                reason = error.strerror
            raise DataError(f"{path} is missing, truncated or not an image: {reason}") from error
        if self.found is not None:
            self.found.measured(whole.width, whole.height)
            if all(low == high for low, high in _extrema(whole)):
                self._remark("WARNING: of one colour alone", path)
        pixels: NDArray[np.uint8] = np.asarray(resized).reshape(height, width, channels)
        return pixels.transpose(2, 0, 1)

    def _opened(self, path: Path, content: bytes) -> Any:
        image = self.pillow.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > min(MAX_PIXELS, max(ALWAYS_ALLOWED, PIXELS_PER_BYTE * len(content))):
            raise DataError(f"{path} has {image.width} x {image.height} pixels: refused")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            self._remark("of several frames, of which the first is used", path)
        return image

    def _plain(self, image: Any, path: Path) -> Any:
        """An image of 8 bits a channel, upright and without transparency."""
        turn = TURNED.get(_orientation(image)) if self.found is not None else None
        if image.mode.startswith("I") or image.mode == "F":
            image = self.pillow.fromarray(self._eight_bits(image, path))
        elif image.has_transparency_data:
            image = self._on_white(image.convert("RGBA"), path)
        if turn is not None:
            self._remark("turned as its EXIF says", path)
            image = image.transpose(self.pillow.Transpose[turn])
        return image

    def _eight_bits(self, image: Any, path: Path) -> NDArray[np.uint8]:
        """A grey image of more than 8 bits, scaled."""
        values = np.asarray(image).astype(np.float64)
        low, high = float(values.min()), float(values.max())
        if not (0 <= low <= high <= DEEP):  # NaN included
            raise DataError(f"{path} holds values from {low:g} to {high:g}: scale them to 0..1, 0..255 or 16 bits")
        if image.mode != "F":
            self._remark("of 16 bits a channel, scaled to 8", path)
            if high <= TWELVE_BITS:
                self._remark("WARNING: of 16 bits with 12 at most in use, and so dark", path)
            return _rounded(values / (DEEP // FULL))
        brightest = next(most for most in (1, FULL, DEEP) if high <= most)
        if high:
            self.floats.setdefault(brightest, path)
        if len(self.floats) > 1:
            (first, one), (second, other) = list(self.floats.items())[:2]
            raise DataError(f"{one} holds floats up to {first} and {other} up to {second}: scale all alike, to 0..1")
        self._remark(f"of floats up to {brightest}, scaled to 8 bits", path)
        return _rounded(values * (FULL / brightest))

    def _on_white(self, image: Any, path: Path) -> Any:
        if image.getchannel("A").getextrema()[0] == FULL:
            return image.convert("RGB")
        self._remark("with transparency, put on white", path)
        white = self.pillow.new("RGBA", image.size, (FULL,) * 4)
        return self.pillow.alpha_composite(white, image).convert("RGB")

    def _remark(self, what: str, path: Path) -> None:
        if self.found is not None:
            self.found.remark(what, "/".join(path.parts[-2:]))


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return 1


def _extrema(image: Any) -> Sequence[tuple[int, int]]:
    """Darkest and brightest value of each channel."""
    extrema = image.getextrema()
    return extrema if isinstance(extrema[0], tuple) else [extrema]


def _rounded(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, FULL).astype(np.uint8)


def _middle(width: int, height: int, ratio: float) -> tuple[float, float, float, float]:
    """The largest box of this width-to-height ratio in the middle of an image."""
    wide, high = min(width, height * ratio), min(height, width / ratio)
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high
