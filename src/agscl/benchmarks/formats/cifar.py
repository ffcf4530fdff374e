"""CIFAR-10 and CIFAR-100 in their "python version": pickled batches of rows of 3,072 bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import Piece, RawSet, piece

from .pickled import array, read_pickle
from .source import Source

SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class CifarFiles:
    """Where one of the two sets keeps what.

    Attributes:
        folder: Folder inside the archive.
        train: Files with training batches.
        meta: File with the names of the classes, under the key ``names``.
        names: See ``meta``.
        labels: Key of the labels in each batch.
    """

    folder: str
    train: tuple[str, ...]
    meta: str
    names: str
    labels: str


CIFAR10 = CifarFiles(
    "cifar-10-batches-py",
    tuple(f"data_batch_{n}" for n in range(1, 6)),
    "batches.meta",
    "label_names",
    "labels",
)
CIFAR100 = CifarFiles("cifar-100-python", ("train",), "meta", "fine_label_names", "fine_labels")


def read_cifar10(source: Source) -> RawSet | None:
    """Read ``cifar-10-batches-py``."""
    return _read(source, CIFAR10, "test_batch")


def read_cifar100(source: Source) -> RawSet | None:
    """Read ``cifar-100-python``, fine labels."""
    return _read(source, CIFAR100, "test")


def _read(source: Source, files: CifarFiles, test: str) -> RawSet | None:
    folder = source.find(files.folder)
    if folder is None:
        return None
    meta = read_pickle(source, _member(folder, files.meta))
    names = meta.get(files.names)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / files.meta} lacks the names of the classes")
    batches = [(_member(folder, name), name == test) for name in (*files.train, test)]
    pieces = [_batch(source, path, files.labels, is_test=is_test) for path, is_test in batches]
    return RawSet(tuple(names), SHAPE, sum(len(part.images) for part in pieces), iter(pieces))


def _batch(source: Source, path: Path, labels: str, *, is_test: bool) -> Piece:
    entries = read_pickle(source, path)
    rows, classes = array(entries, "data", path), array(entries, labels, path)
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != np.prod(SHAPE):  # noqa: PLR2004
        raise DataError(f"{path}: 'data' is {rows.dtype} {rows.shape}, not rows of 3072 bytes")
    return piece(rows.reshape(-1, *SHAPE), classes, is_test=is_test)


def _member(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(f"{folder} is incomplete: it lacks {name}")
    return path
