"""Files that are there in full or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
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
    write_files({path: content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together, each as `write_bytes` does: none is renamed before all are on the disk.

    Args:
        contents: By file, in the order in which they are renamed.

    Raises:
        OSError: If one cannot be written; names it, and none is renamed then.
    """
    temporaries: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            if not path.name or path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            _clear_after_the_dead(path)
            temporaries[path] = path.with_name(f".{path.name}.{os.getpid()}.part")
            with naming(path), temporaries[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            with naming(path):
                temporary.replace(path)
        for folder in {path.parent for path in contents} if os.name == "posix" else ():  # else folders cannot be opened
            descriptor = os.open(folder, os.O_RDONLY)  # a power cut must not undo the renaming
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except BaseException:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise


def _clear_after_the_dead(path: Path) -> None:
    """Remove what processes of this machine left of a file that were killed while they wrote it."""
    if os.name != "posix":
        return
    for leftover in path.parent.glob(f".{escape(path.name)}.[0-9]*.part"):
        try:
            os.kill(int(leftover.name.split(".")[-2]), 0)
        except ProcessLookupError:
            leftover.unlink(missing_ok=True)
        except (ValueError, OverflowError, OSError):
            continue


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
    if not_plain := _not_plain(record):
        raise ValueError(f"{path} is damaged: {not_plain} is not finite or too large")
    return record


def require_storable(content: bytes) -> None:
    """Refuse JSON that `parse_record` would not read again, before anything is done for it.

    Raises:
        ValueError: If it holds a number that is too large; names it.
    """
    if not_plain := _not_plain(from_json(content)):
        raise ValueError(f"{not_plain} is 2^63 or larger, which no record can hold: take a smaller one, or inf")


def _not_plain(value: Any, name: str = "") -> str | None:
    """The name, such as "method.lam", of the first number that no record holds."""
    if isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        found = (_not_plain(member, f"{name}.{key}" if name else str(key)) for key, member in members)
        return next(filter(None, found), None)
    return None if not isinstance(value, int | float) or abs(value) < LARGEST else name


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
