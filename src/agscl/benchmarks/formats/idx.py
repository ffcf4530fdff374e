"""MNIST's idx files: a magic number, the dimensions, then the bytes; usually gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agscl.benchmarks.archives import ALWAYS_ALLOWED, MAX_RATIO
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import Piece, RawSet, piece

from .source import Source

UNSIGNED_BYTE = 8
DIGITS = tuple("0123456789")


def read_idx(source: Source) -> RawSet | None:
    """Read the four files of MNIST, or of any set in its format, as 28x28 grey images of ten classes."""
    if _locate(source, "train-images-idx3-ubyte") is None:
        return None
    pieces = [_pair(source, "train", is_test=False), _pair(source, "t10k", is_test=True)]
    return RawSet.of(DIGITS, pieces, named=False)


def _pair(source: Source, prefix: str, *, is_test: bool) -> Piece:
    images = _read(source, f"{prefix}-images-idx3-ubyte", dims=3)
    labels = _read(source, f"{prefix}-labels-idx1-ubyte", dims=1)
    return piece(images[:, None], labels, is_test=is_test)


def _locate(source: Source, name: str) -> Path | None:
    """The gzipped original if it is there (its checksum is known), else the unpacked file."""
    return source.find(f"{name}.gz") or source.find(name)


def _read(source: Source, name: str, dims: int) -> NDArray[np.uint8]:
    path = _locate(source, name) or source.need(f"{name}.gz")
    source.checksums.passes(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dims)
            if len(header) != 4 + 4 * dims or header[:4] != bytes([0, 0, UNSIGNED_BYTE, dims]):
                raise DataError(f"{path} is not an idx file of unsigned bytes in {dims} dimensions")
            shape = struct.unpack(f">{dims}I", header[4:])
            if math.prod(shape) > max(MAX_RATIO * path.stat().st_size, ALWAYS_ALLOWED):
                raise DataError(f"{path} announces {math.prod(shape)} bytes: refused")
            content = file.read(math.prod(shape) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or not gzipped: {error}") from error
    if len(content) != math.prod(shape):
        raise DataError(f"{path} is truncated or foreign: {len(content)} bytes for shape {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)
