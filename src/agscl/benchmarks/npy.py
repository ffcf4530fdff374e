"""The header of numpy's ``.npy``: read before anything is allocated, and refused if it is not plain numbers."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from .errors import DataError

READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
KINDS = "buifSU"
"""Booleans, integers, floats and texts."""
DAMAGE = (ValueError, TypeError, KeyError, OverflowError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What numpy raises on a damaged or invented header."""


@dataclass(frozen=True)
class Header:
    """What a ``.npy`` file announces.

    Attributes:
        shape: Shape of the array.
        dtype: Its type.
        fortran: Whether the first index varies fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def nbytes(self) -> int:
        """Size of the content in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], path: Path | str) -> Header:
    """Read the header and leave the file where the content begins.

    Raises:
        DataError: If it is damaged, or announces anything but an array of numbers or texts.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # that Python 2 wrote it
            shape, fortran, dtype = READERS[np.lib.format.read_magic(file)](file)
    except DAMAGE as error:
        raise DataError(f"{path} does not begin as an .npy file: {error}") from error
    if not all(type(side) is int for side in shape):
        raise DataError(f"{path} announces the shape {shape}: refused")
    if dtype.kind not in KINDS or dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise DataError(f"{path} announces {dtype} of shape {shape}: refused")
    return Header(shape, dtype, fortran)
