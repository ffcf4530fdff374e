"""One process at a time in a run folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from .files import read_record

LOCK = ".lock"
"""Held by the operating system for as long as its process lives, so that a dead process leaves no lock behind."""

HOLDER = ".lock-holder.json"
"""Says who holds it."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder within the context.

    Raises:
        ValueError: If another process holds it; the message says which.
        OSError: If the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{folder} is in use by {_holder(folder)}: wait for it, or choose another folder") from None
    holder = {"process": os.getpid(), "host": platform.node(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}
    try:
        (folder / HOLDER).write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder."""
    if not (folder / HOLDER).exists():
        return False
    try:
        with locked(folder):
            return False
    except ValueError:
        return True


def refuse_held(folder: Path) -> None:
    """Refuse a folder that another process holds, with a `ValueError` that says which."""
    if (folder / HOLDER).exists():
        with locked(folder):
            pass


def _holder(folder: Path) -> str:
    try:
        holder = read_record(folder / HOLDER)
        return f"process {int(holder['process'])} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
