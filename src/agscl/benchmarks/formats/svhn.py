"""SVHN's cropped digits: two MATLAB files with ``X`` of shape (32, 32, 3, N) and ``y``, where 10 means 0."""

from __future__ import annotations

import numpy as np

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import RawSet, piece

from .idx import DIGITS
from .matlab import read_arrays
from .source import Source

FILES = ("train_32x32.mat", "test_32x32.mat")
IMAGE = (32, 32, 3)


def read_svhn(source: Source) -> RawSet | None:
    """Read ``train_32x32.mat`` and ``test_32x32.mat``."""
    if source.find(FILES[0]) is None:
        return None
    pieces = []
    for name in FILES:
        path = source.need(name)
        source.checksums.passes(path)
        arrays = read_arrays(path)
        if missing := {"X", "y"} - arrays.keys():
            raise DataError(f"{path} lacks {min(missing)!r}")
        images, digits = arrays["X"], arrays["y"].ravel()
        if images.dtype != np.uint8 or images.shape != (*IMAGE, len(digits)):
            what = f"{images.dtype} {images.shape}"
            raise DataError(f"{path}: X is {what}, not 32 x 32 x 3 bytes for each of {len(digits)} y")
        if not np.isin(digits, np.arange(11)).all():
            raise DataError(f"{path}: y holds other numbers than 0 to 10")
        labels = digits.astype(np.int64) % 10
        pieces.append(piece(images.transpose(3, 2, 0, 1), labels, is_test=name == FILES[1]))
    return RawSet.of(DIGITS, pieces)
