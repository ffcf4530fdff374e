"""What a reader may never do, noticed while it runs: write elsewhere, unpickle, start programs, take memory as told."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEMORY = 2**28
"""Bytes that a reader of small files may take beyond what the process has."""

NEVER = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.move")

RELATIVE = ("os.remove", "os.rmdir")
"""Their second argument is an open folder, if there is one, that their first is relative to."""

_boxes: list[Path] = []
_violations: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _boxes:
        return
    writes = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
    changes = event in CHANGING and not (event in RELATIVE and arguments[1] != -1)
    if event in NEVER:
        _violations.append(f"{event} {arguments}")
    elif writes or changes:
        _note(event, arguments[0])


def _note(event: str, path: Any) -> None:
    if isinstance(path, str | bytes) and not Path(os.fsdecode(path)).absolute().is_relative_to(_boxes[-1]):
        _violations.append(f"{event} {path!r}")


sys.addaudithook(_hook)


@contextmanager
def confined(box: Path) -> Iterator[None]:
    """Let code change files in one folder only and take little memory.

    Raises:
        AssertionError: If it did anything else.
        MemoryError: If it asked for more memory.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    _boxes.append(box.resolve())
    try:
        yield
    finally:
        _boxes.pop()
        resource.setrlimit(resource.RLIMIT_AS, before)
    found = list(_violations)
    _violations.clear()
    assert found == [], found
