"""Arrays of bytes and integers in MATLAB 5 files, the format of SVHN.

A reader of its own, since general ones crash the process on damaged files.

Source: MathWorks, MAT-File Format, chapter 1, "Level 5 MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agscl.benchmarks.archives import ALWAYS_ALLOWED, MAX_RATIO
from agscl.benchmarks.errors import DataError

HEADER = 128
COMPRESSED, MATRIX = 15, 14
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
"""Numpy's names of the number types in a file."""
SMALL = 4
"""Elements of up to four bytes stand beside their own tag."""
ALIGNMENT = 8


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of real numbers in a file, by name.

    Raises:
        DataError: If the file is damaged or of another version, or announces more than it holds.
    """
    content = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[HEADER - 2 : HEADER]))
    if order is None:
        raise DataError(f"{path} is truncated or not a MATLAB 5 file")
    try:
        matrices = (_unpacked(kind, element, order) for kind, element in _elements(content[HEADER:], order))
        return dict(_array(element, order) for element in matrices)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise DataError(f"{path} is truncated or damaged: {error}") from error


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of one element after the other."""
    while content:
        kind, size = struct.unpack_from(f"{order}II", content)
        start, stop = ALIGNMENT, ALIGNMENT + size
        if kind >> 16:  # the small format: the size is in the upper half
            kind, size = kind & 0xFFFF, kind >> 16
            start, stop = SMALL, SMALL + size
        if stop > len(content) or (start == SMALL and size > SMALL):
            raise ValueError(f"it ends before an element of {size} bytes")
        yield kind, content[start:stop]
        padded = stop if kind == COMPRESSED else math.ceil(stop / ALIGNMENT) * ALIGNMENT
        content = content[padded:]


def _unpacked(kind: int, element: memoryview, order: str) -> memoryview:
    """The content of a matrix."""
    if kind == COMPRESSED:
        most = max(MAX_RATIO * len(element), ALWAYS_ALLOWED)
        unpacked = zlib.decompressobj()
        whole = memoryview(unpacked.decompress(element, most))
        if not unpacked.eof:
            raise ValueError("a compressed element has no end, or grows beyond reason")
        ((kind, element),) = _elements(whole, order)
    if kind != MATRIX:
        raise ValueError(f"an element of type {kind} where a matrix belongs")
    return element


def _array(matrix: memoryview, order: str) -> tuple[str, NDArray[Any]]:
    _, (_, dims), (_, name), (kind, numbers) = _elements(matrix, order)
    if kind not in TYPES:
        raise ValueError(f"numbers of type {kind}")
    dtype = np.dtype(order + TYPES[kind])
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims)
    if min(shape, default=-1) < 0 or math.prod(shape) * dtype.itemsize != len(numbers):
        raise ValueError(f"{len(numbers)} bytes for an array of shape {shape}")
    return bytes(name).decode("ascii"), np.frombuffer(numbers, dtype).reshape(shape, order="F")
