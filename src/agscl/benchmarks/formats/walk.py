"""Folders gone through without trust: links are followed but not in circles, and what is no regular file stays shut."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.found import Found
from agscl.benchmarks.regular import is_regular

ENDINGS = frozenset(
    {
        ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".ppm", ".pgm", ".pbm", ".pnm",
        ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif",
    }
)  # fmt: skip
"""Of files that are read as images."""

OTHER_ENDINGS = frozenset(
    {
        ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl", ".svg", ".eps", ".ps", ".psd", ".xcf", ".ico", ".icns",
        ".tga", ".dcm", ".nii", ".mha", ".exr", ".hdr", ".raw", ".nef", ".cr2", ".cr3", ".arw", ".dng", ".pcx", ".sgi",
        ".fits", ".npy", ".mat",
    }
)  # fmt: skip
"""Of files that hold images in formats that are not read."""

MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
"""What images begin with, whatever their name."""

JUNK = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found"})
"""Names that systems leave in people's folders, in small letters."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is there for a system and not for people."""
    return name.startswith(".") or name.lower() in JUNK


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image that can be read."""
    return path.suffix.lower() in ENDINGS and not is_hidden(path.name)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def holds_images(folder: Path) -> bool:
    """Whether images lie in the folder itself."""
    return any(is_image(path) and is_regular(path) for path in folder.iterdir())


def images_below(folder: Path, root: Path, found: Found) -> Iterator[Path]:
    """All images in a folder and below, in the order of their names.

    Args:
        folder: The folder.
        root: What names are told from.
        found: Told what is left out.

    Raises:
        DataError: If a folder cannot be read.
    """
    for path in _walk(folder, root, found, set()):
        name = str(path.relative_to(root))
        if is_hidden(path.name):
            found.leave_out("hidden", name)
        elif not path.exists():
            found.leave_out("link to nothing", name)
        elif not is_regular(path):
            found.leave_out("no regular file", name)
        elif path.suffix.lower() in ENDINGS:
            yield path
        elif path.suffix.lower() in OTHER_ENDINGS:
            found.leave_out(f"image of a format that is not read: {path.suffix.lower()}", name)
        elif _begins_as_image(path):
            found.leave_out("image without the ending of one", name)
        else:
            found.leave_out("file that is no image", name)


def listing_digest(root: Path, *settings: object) -> str:
    """Digest of all that can tell a change below a folder: names, links, sizes, times and places on the disk.

    Folders behind links count as well, and so do links that point elsewhere now.
    """
    digest = hashlib.sha256(os.fsencode(f"{root.resolve()} {settings}"))
    for path in _walk(root, root, Found(), set()):
        facts = file_facts(path)
        digest.update(os.fsencode(f"{path.relative_to(root)} {os.path.realpath(path)} {facts}\n"))
    return digest.hexdigest()[:16]


def file_facts(path: Path) -> tuple[int, ...]:
    """What differs when a file was changed: size, times, place on the disk; nothing if it cannot be told."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode


def _walk(folder: Path, root: Path, found: Found, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All but the folders in a folder and below; a folder that links lead to several times is entered once."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    if (status.st_dev, status.st_ino) in seen:
        found.leave_out("folder linked twice", str(folder.relative_to(root)))
        return
    seen.add((status.st_dev, status.st_ino))
    for path in entries:
        if not path.is_dir():
            yield path
        elif is_hidden(path.name):
            found.leave_out("hidden", str(path.relative_to(root)))
        else:
            yield from _walk(path, root, found, seen)


def _begins_as_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(MAGIC)
    except OSError:
        return False
