"""Files that are there in full or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from pydantic_core import from_json
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

LEFTOVER = ".*.[0-9]*.part"
"""Names of files that a killed writer left."""

LARGEST = 2**63
"""No number in a record is larger: tables and pictures can hold it."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file through a temporary one in the same folder, flushed to the disk and renamed.

    Raises:
        OSError: If the folder cannot be written; names ``path``, and nothing is left behind.
    """
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming(path):
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        if os.name == "posix":  # elsewhere a folder cannot be opened; a power cut must not undo the renaming
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the disk name the file: a write that fails does not say where."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises as `parse_record` does."""
    return parse_record(path.read_bytes(), path)


def parse_record(content: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in the content of a file.

    Raises:
        ValueError: If it is something else, is nested too deep, or holds a number that is not finite or too large;
            names ``path``.
    """
    try:
        record = from_json(content)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    if not _plain(record):
        raise ValueError(f"{path} is damaged: it holds a number that is not finite or too large")
    return record


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    if isinstance(value, list):
        return all(map(_plain, value))
    return not isinstance(value, int | float) or abs(value) < LARGEST


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors; tensors that share memory are written apart."""
    write_bytes(path, tensor_bytes(tensors))


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Tensors as the content of a safetensors file; tensors that share memory become apart."""
    apart = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return save(apart, dict(metadata) if metadata else None)


def tensors_in(content: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file's content; sizes in its header are checked before any memory is taken.

    Raises:
        ValueError: If it is no such file, or damaged; names ``path``.
    """
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged or no safetensors file: {reason}") from error
