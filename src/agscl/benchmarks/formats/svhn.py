"""SVHN's cropped digits: two MATLAB files with ``X`` of shape (32, 32, 3, N) and ``y``, where 10 means 0."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.extras import require
from agscl.benchmarks.formats.place import Place
from agscl.benchmarks.raw import Piece, RawSet, piece

FILES = ("train_32x32.mat", "test_32x32.mat")
SHAPE = (3, 32, 32)
MAX_IMAGES = 1_000_000
DIGITS = tuple("0123456789")


def read_svhn(place: Place) -> RawSet | None:
    """Read ``train_32x32.mat`` and ``test_32x32.mat``."""
    if place.find(FILES[0]) is None:
        return None
    pieces = [_read(place, name, is_test=name == FILES[1]) for name in FILES]
    return RawSet(DIGITS, SHAPE, sum(len(part.images) for part in pieces), iter(pieces))


def _read(place: Place, name: str, *, is_test: bool) -> Piece:
    path = place.need(name)
    place.checksums.passes(path)
    matlab = require("scipy.io", extra="vision")
    try:
        _check_header(path, {variable: shape for variable, shape, _ in matlab.whosmat(path)})
        content = matlab.loadmat(path, variable_names=["X", "y"])
    except DataError:
        raise
    except Exception as error:  # scipy raises whatever the damage leads to
        raise DataError(f"{path} is truncated or not a MATLAB file: {error}") from error
    images, digits = content["X"], content["y"].ravel()
    if images.dtype != np.uint8 or digits.dtype.kind not in "uif":
        raise DataError(f"{path}: X is {images.dtype}, y is {digits.dtype}")
    return piece(images.transpose(3, 2, 0, 1), digits.astype(np.int64) % 10, is_test=is_test)


def _check_header(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a file that announces anything but (32, 32, 3, N) images with N labels, before reading it."""
    shape = shapes.get("X", ())
    if shape[:3] != (32, 32, 3) or not 0 < shape[3] <= MAX_IMAGES:
        raise DataError(f"{path}: X has shape {shape}, not (32, 32, 3, N)")
    if math.prod(shapes.get("y", ())) != shape[3]:
        raise DataError(f"{path}: {shape[3]} images but y has shape {shapes.get('y')}")
