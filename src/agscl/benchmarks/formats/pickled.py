"""Pickles, which can run code when read: only of files that passed a checksum, and arrays only.

Numpy's own code never sees the content: what a pickle of arrays refers to is played by three classes here.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agscl.benchmarks.errors import DataError

from .source import Source

FRAME_BYTES = 9
"""The opcode and a size of eight bytes."""


def read_pickle(source: Source, path: Path) -> dict[str, Any]:
    """Read a pickled dictionary of arrays, strings and numbers; `array` gets an array out of it.

    Raises:
        DataError: If the file's checksum is not known or differs, or it holds anything else.
    """
    content = path.read_bytes()
    if not source.checksums.passes(path, content) and not source.vouched:
        raise DataError(
            f"{path} is a pickle, which can run code when read, and its checksum is not known: "
            "give the checksum of the file or archive that you trust (--checksum)"
        )
    try:
        loaded = _ArraysOnly(io.BytesIO(_unframed(content)), encoding="latin1").load()
    except MemoryError:
        raise
    except Exception as error:  # unpickling raises whatever the damage leads to
        raise DataError(f"{path} is not a pickle of arrays: {error}") from error
    if not isinstance(loaded, dict):
        raise DataError(f"{path} holds a {type(loaded).__name__}, not a dictionary")
    return loaded


def array(entries: dict[str, Any], key: str, path: Path) -> NDArray[Any]:
    """An entry as an array of numbers.

    Raises:
        DataError: If it is missing or not numbers.
    """
    values = entries.get(key)
    if isinstance(values, _Array):
        return values.values
    if isinstance(values, list) and all(isinstance(value, int) and abs(value) < 2**63 for value in values):
        return np.array(values, np.int64)
    raise DataError(f"{path} lacks {key!r}, an array or list of numbers")


def _unframed(content: bytes) -> bytes:
    """The pickle without its frames; refused if an opcode announces more than the file holds.

    The unpickler would take the memory first, and after a frame of the wrong size it reads other opcodes than those
    that are checked here.
    """
    parts, start = [], 0
    for count, (opcode, argument, position) in enumerate(pickletools.genops(content)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= count:
            raise pickle.UnpicklingError(f"announces {argument} objects")
        if opcode.name == "FRAME":
            parts.append(content[start:position])
            start = int(position or 0) + FRAME_BYTES
    return b"".join([*parts, content[start:]])


class _Type:
    """What stands for ``numpy.dtype``: integers and floats of a size and byte order."""

    def __init__(self, name: str, *_: object) -> None:
        if not re.fullmatch("[uif][1248]", name):
            raise pickle.UnpicklingError(f"holds numbers of type {name!r}")
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "=" if state[1] == "|" else state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.name)


class _Array:
    """What stands for ``numpy.ndarray``: made empty and then filled."""

    values: NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        self.filled(content, kind, shape, "F" if fortran else "C")

    def filled(self, content: str | bytes, kind: _Type, shape: tuple[int, ...], order: Any) -> _Array:
        """This array with its content, which Python 2 wrote as text."""
        raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
        if math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise pickle.UnpicklingError(f"announces an array of shape {shape} in {len(raw)} bytes")
        self.values = np.frombuffer(raw, kind.dtype).reshape(shape, order=order)
        return self


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_ins = {
            "numpy.ndarray": _Array,
            "numpy.dtype": _Type,
            "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
            "numpy._core.numeric._frombuffer": lambda *state: _Array().filled(*state),
            "_codecs.encode": lambda text, _: text.encode("latin1"),
        }
        full = f"{module.replace('numpy.core', 'numpy._core')}.{name}"
        if full not in stand_ins:
            raise pickle.UnpicklingError(f"refers to {module}.{name}")
        return stand_ins[full]
