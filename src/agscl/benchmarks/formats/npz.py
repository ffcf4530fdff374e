"""Numpy's ``.npz``: arrays ``x_train, y_train, x_test, y_test`` or ``x, y``, and perhaps ``classes``.

Images are uint8, grey ``(N, H, W)`` or with channels last or first. Omniglot's arrays are ``x, alphabet,
character, alphabets``. Nothing is ever unpickled, and an array is read only if its announced size is what
the file holds.
"""

from __future__ import annotations

import sys
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agscl.benchmarks.archives import ALWAYS_ALLOWED, MAX_RATIO, check_compression
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.npy import read_header
from agscl.benchmarks.raw import Piece, Pixels, RawSet, piece

from .source import Source

SPLIT = (("x_train", "y_train", False), ("x_test", "y_test", True))
WHOLE = (("x", "y", False),)
GREY, COLOUR = 3, 4
CHANNELS = (1, 3)
MOST_CLASSES = 1_000_000
"""A label above this is damage: there is a name for every class."""
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, OverflowError, RuntimeError)
"""What reading a damaged file raises."""


def read_npz(source: Source) -> RawSet | None:
    """Read a source that is an ``.npz`` file."""
    return npz_set(source.path) if source.path.suffix == ".npz" and source.path.is_file() else None


def npz_set(path: Path) -> RawSet:
    """Read an ``.npz`` file.

    Raises:
        DataError: If it is damaged, or its arrays are not images with labels.
    """
    arrays = load_npz(path)
    if "alphabet" in arrays:
        return _omniglot(path, arrays)
    parts = SPLIT if "x_train" in arrays else WHOLE
    pieces = [_piece(path, arrays, images, labels, is_test=test) for images, labels, test in parts]
    return RawSet.of(_classes(path, arrays, pieces), pieces, named="classes" in arrays)


def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file, without pickles.

    Raises:
        DataError: If the file is damaged, foreign, or announces more than it holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(info.file_size for info in archive.infolist())
            if total > max(MAX_RATIO * path.stat().st_size, ALWAYS_ALLOWED):
                raise DataError(f"{path} grows beyond reason when unpacked: refused")
            for info in archive.infolist():
                check_compression(path, info)
                with archive.open(info) as file:  # only the header: nothing is allocated before its size is checked
                    header = read_header(file, f"{path}: {info.filename}")
                    left = info.file_size - file.tell()
                if header.nbytes != left:
                    raise DataError(
                        f"{path}: {info.filename} announces {header.nbytes} bytes of {header.dtype}: refused"
                    )
        with warnings.catch_warnings(action="ignore"), np.load(path, allow_pickle=False) as arrays:  # see `read_header`
            return {name: arrays[name] for name in arrays.files}
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated, damaged or not an .npz file: {error}") from error


def _array(path: Path, arrays: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise DataError(f"{path} lacks the array {name!r}: it has {', '.join(sorted(arrays))}")
    return arrays[name]


def _piece(path: Path, arrays: dict[str, NDArray[Any]], images: str, labels: str, *, is_test: bool) -> Piece:
    pixels, classes = _array(path, arrays, images), _array(path, arrays, labels)
    if classes.dtype.kind not in "ui" or classes.shape != pixels.shape[:1]:
        raise DataError(f"{path}: {labels!r} must be one integer per image, is {classes.dtype} {classes.shape}")
    return piece(_pixels(path, images, pixels), classes, is_test=is_test)


def _pixels(path: Path, name: str, images: NDArray[Any]) -> Pixels:
    if images.dtype != np.uint8 or images.ndim not in (GREY, COLOUR):
        raise DataError(f"{path}: {name!r} must be uint8 images, is {images.dtype} {images.shape}")
    if images.ndim == GREY:
        return images[:, None]
    if images.shape[3] in CHANNELS:
        return images.transpose(0, 3, 1, 2)
    if images.shape[1] in CHANNELS:
        return images
    raise DataError(f"{path}: {name!r} has shape {images.shape}: neither axis 1 nor axis 3 is 1 or 3 channels")


def _classes(path: Path, arrays: dict[str, NDArray[Any]], pieces: list[Piece]) -> tuple[str, ...]:
    if "classes" in arrays:
        return texts(path, arrays, "classes")
    highest = max((int(part.labels.max()) for part in pieces if len(part.labels)), default=-1)
    if highest >= MOST_CLASSES:
        raise DataError(f"{path} has a label of {highest}: labels count from 0")
    return tuple(str(number) for number in range(highest + 1))


def texts(path: Path, arrays: dict[str, NDArray[Any]], name: str) -> tuple[str, ...]:
    """An array as texts; numpy does not check that its characters exist."""
    values = _array(path, arrays, name).ravel()
    if values.dtype.kind == "U":
        characters = values.astype(values.dtype.newbyteorder("=")).view(np.uint32)
        if characters.max(initial=0) > sys.maxunicode:
            raise DataError(f"{path}: {name!r} holds characters that do not exist")
    return tuple(map(str, values))


def _omniglot(path: Path, arrays: dict[str, NDArray[Any]]) -> RawSet:
    images, names = _pixels(path, "x", _array(path, arrays, "x")), texts(path, arrays, "alphabets")
    alphabet, character = (_array(path, arrays, name) for name in ("alphabet", "character"))
    if alphabet.dtype.kind not in "ui" or character.dtype.kind not in "ui":
        raise DataError(f"{path}: alphabet and character must be integers")
    if not alphabet.shape == character.shape == images.shape[:1]:
        raise DataError(f"{path}: alphabet and character do not fit the images")
    if len(alphabet) and not 0 <= alphabet.min() <= alphabet.max() < len(names):
        raise DataError(f"{path}: an alphabet is not one of the {len(names)}")
    pairs, labels = np.unique(np.stack([alphabet, character], axis=1).astype(np.int64), axis=0, return_inverse=True)
    classes = tuple(f"{names[first]}/character{second:02d}" for first, second in pairs)
    return RawSet.of(classes, [piece(images, labels.ravel(), is_test=False)])
