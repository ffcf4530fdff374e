"""CIFAR-10 and CIFAR-100 in their "python version": pickled batches of rows of 3,072 bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import RawSet, piece

from .pickled import array, read_pickle
from .source import Source

SHAPE = (3, 32, 32)


def read_cifar10(source: Source) -> RawSet | None:
    """Read ``cifar-10-batches-py``."""
    batches = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return _read(source, "cifar-10-batches-py", batches, "batches.meta", "")


def read_cifar100(source: Source) -> RawSet | None:
    """Read ``cifar-100-python``, fine labels."""
    return _read(source, "cifar-100-python", ["train", "test"], "meta", "fine_")


def _read(source: Source, folder_name: str, batches: list[str], meta: str, prefix: str) -> RawSet | None:
    """Read batches, the last of them for testing; ``prefix`` is what the names of the entries begin with."""
    folder = source.find(folder_name)
    if folder is None:
        return None
    names = read_pickle(source, _member(folder, meta)).get(f"{prefix}label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / meta} lacks the names of the classes")
    pieces = []
    for path in [_member(folder, name) for name in batches]:
        entries = read_pickle(source, path)
        rows, labels = array(entries, "data", path), array(entries, f"{prefix}labels", path)
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != np.prod(SHAPE):  # noqa: PLR2004
            raise DataError(f"{path}: 'data' is {rows.dtype} {rows.shape}, not rows of 3072 bytes")
        pieces.append(piece(rows.reshape(-1, *SHAPE), labels, is_test=path.name == batches[-1]))
    return RawSet.of(tuple(names), pieces)


def _member(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(f"{folder} is incomplete: it lacks {name}")
    return path
