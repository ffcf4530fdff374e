"""Files opened only if they are files: a named pipe would wait for ever, a device has no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import DataError

MOST_BYTES = 2**30
"""No single image or small file is larger."""


def is_regular(path: Path) -> bool:
    """Whether a path, or what it links to, is a regular file."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def require_regular(path: Path) -> Path:
    """The path, if it is a regular file.

    Raises:
        DataError: If it is missing or something else, such as a named pipe; it is not opened then.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not is_regular(path):
        raise DataError(f"{path} is no regular file: not opened")
    return path


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        DataError: If it is something else, or larger than ``most`` bytes.
        OSError: If it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor: what is checked is what is read
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is no regular file: not read")
        if status.st_size > most:
            raise DataError(f"{path} has {status.st_size:,} bytes: refused")
        content = file.read(status.st_size + 1)
    if len(content) > status.st_size:
        raise DataError(f"{path} has more bytes than its size says: not read")
    return content
