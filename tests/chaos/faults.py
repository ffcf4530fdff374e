"""A run's life in a process of its own, and its end: killed, or refused by the disk, at its n-th write."""

import errno
import io
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hostile.cases import THOROUGH

FAULTS = None if THOROUGH else 2
"""How many are drawn among all writes (`None`: every one of them)."""

Fault = Callable[[], None]


def points(count: int) -> Sequence[int]:
    """Where it goes wrong: everywhere, or at a few places that are others every day."""
    everywhere = range(1, count + 1)
    return everywhere if FAULTS is None else sorted(random.Random(time.time() // 86_400).sample(everywhere, FAULTS))


def life(
    errors: str, arguments: Sequence[str], at: int = 0, fault: str = "", count: str = "", threads: int = 1
) -> NoReturn:
    """Run ``agscl`` and leave with its exit code.

    Args:
        errors: File that gets what it says on stderr.
        arguments: Its command line.
        at: Which write, flush to disk, rename or removal goes wrong, from 1; 0 for none.
        fault: ``kill`` before it, ``half`` way through a write, ``full``: the disk is, or the name of a signal
            that comes then.
        count: File that gets the number of all of them.
        threads: With how many it computes, unless the run says it.
    """
    import torch

    from agscl.cli import main

    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    torch.set_num_threads(threads)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    disk = Disk(at, fault)
    disk.install()
    code = main(list(arguments))
    if count:
        os.write(os.open(count, os.O_WRONLY | os.O_CREAT), str(disk.done).encode())
    sys.exit(code)


def writing(errors: str, out: str, at: int, fault: str) -> NoReturn:
    """Write a folder of programs; arguments as of `life`."""
    from agscl.guard.programs import write_programs

    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    Disk(at, fault).install()
    names = ("model.safetensors", "model.pt2", "model.onnx")
    write_programs(Path(out), {name: name[6:].encode() * 99 for name in names}, b"{}")
    sys.exit(0)


class Disk:
    """Counts what is done to files, and fails at one of them."""

    def __init__(self, at: int, fault: str) -> None:
        self.at, self.fault, self.done = at, fault, 0

    def install(self) -> None:
        """Come between the program and its disk."""
        for owner, name in (
            (os, "fsync"),
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "mkdir"),
            (Path, "rmdir"),
            (Path, "rename"),
        ):
            setattr(owner, name, self._failing(getattr(owner, name)))
        opened = Path.open
        Path.open = lambda path, *given, **options: self._watched(opened(path, *given, **options))  # type: ignore[method-assign, assignment]

    def _failing(self, action: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*given: Any, **options: Any) -> Any:
            self.step(path=str(given[0]) if isinstance(given[0], Path) else None)
            return action(*given, **options)

        return failing

    def step(self, half: Fault = lambda: None, path: str | None = None) -> None:
        """One more; ``half`` does a part of it; the system names the path of what is no write."""
        self.done += 1
        if self.done != self.at:
            return
        if self.fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if self.fault in signal.Signals.__members__:
            signal.raise_signal(signal.Signals[self.fault])
            return
        if self.fault == "half":
            half()
        os.kill(os.getpid(), signal.SIGKILL)

    def _watched(self, file: Any) -> Any:
        return Watched(file, self) if file.writable() else file


class Watched:
    """A file open for writing."""

    def __init__(self, file: io.IOBase, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Watched":
        self._file.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.__exit__(*exception)

    def write(self, content: Any) -> int:
        """Write, or a part and then no more."""

        def half() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._disk.step(half)
        return int(self._file.write(content))
