"""Room on the disk: asked for before anything is written, and named when it runs out all the same."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError

FULL = {errno.ENOSPC, errno.EDQUOT}
"""Errors of a disk that is full, or the user's part of it."""
ADVICE = "make room, or choose another folder for data (--data-root)"


@contextmanager
def room(what: str, folder: Path, need: int) -> Iterator[None]:
    """Write within the context what takes room in a folder.

    Args:
        what: What is written, for the message.
        folder: Where; it exists.
        need: Bytes that it takes at least.

    Raises:
        DataError: If there is not as much room, or it runs out within: says what is written, where, and the need.
    """
    free = shutil.disk_usage(folder).free
    if need > free:
        raise DataError(f"{what} takes {need:,} bytes in {folder}, where {free:,} are free: {ADVICE}")
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DataError(f"{what} takes {need:,} bytes or more in {folder}, which is full: {ADVICE}") from error
        raise
