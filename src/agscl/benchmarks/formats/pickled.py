"""Pickles, which can run code when read: only of files that passed a checksum, and arrays only."""

from __future__ import annotations

import importlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.formats.place import Place

ALLOWED = {
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer",
    "numpy._core.numeric._frombuffer",
    "_codecs.encode",
}
"""All that a pickle of arrays, strings and numbers refers to."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in ALLOWED:
            raise pickle.UnpicklingError(f"refers to {module}.{name}")
        modern = module.replace("numpy.core", "numpy._core")
        return getattr(importlib.import_module(modern), name)


def read_pickle(place: Place, path: Path) -> dict[str, Any]:
    """Read a pickled dictionary of arrays, strings and numbers.

    Raises:
        DataError: If the file's checksum is not known or differs, or it holds anything else.
    """
    content = path.read_bytes()
    if not place.checksums.passes(path, content) and not place.vouched:
        raise DataError(
            f"{path} is a pickle, which can run code when read, and its checksum is not known: "
            "give the checksum of the file or archive that you trust (--checksum)"
        )
    try:
        loaded = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is not a pickle of arrays: {error}") from error
    if not isinstance(loaded, dict):
        raise DataError(f"{path} holds a {type(loaded).__name__}, not a dictionary")
    return loaded


def array(entries: dict[str, Any], key: str, path: Path) -> np.ndarray[Any, Any]:
    """An entry as an array.

    Raises:
        DataError: If it is missing or not numbers.
    """
    if key not in entries:
        raise DataError(f"{path} lacks {key!r}")
    values = np.asarray(entries[key])
    if values.dtype.kind not in "uif":
        raise DataError(f"{path}: {key!r} is not numbers")
    return values
