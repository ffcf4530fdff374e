"""Archives unpacked without trust: no path leaves the folder, no links, no bombs."""

from __future__ import annotations

import bz2
import errno
import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from .errors import DataError
from .raw import Report, no_report
from .room import room

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")
MAX_RATIO = 100
"""Images hardly shrink when packed: an archive that grows more than this when unpacked is a bomb."""
ALWAYS_ALLOWED = 2**26
"""Bytes that any archive may hold."""
MAX_MEMBERS = 5_000_000
MAX_EMPTY = 1_000
"""Images are not empty: an archive of more empty files than this is there to fill a disk with names."""
CHUNK = 2**20
"""Bytes read at once, at most."""
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, RuntimeError)
"""What unpacking a damaged archive raises."""
OUTSIDE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
"""Errors of the disk or the system, not of an archive."""


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive."""
    return path.is_file() and path.name.lower().endswith(ENDINGS)


def unpack(path: Path, folder: Path, report: Report = no_report) -> None:
    """Unpack an archive's regular files below ``folder``.

    Raises:
        DataError: If the archive is damaged, would write outside ``folder``, holds links or devices, or
            grows beyond reason.
    """
    members = _zip_members if path.name.lower().endswith(".zip") else _tar_members
    what, used, written, empty = f"unpacking {path.name}", path.stat().st_size, 0, 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with room(f"{path}, unpacked,", folder, used):
            for count, (name, size, source, position) in enumerate(members(path)):
                written, empty = written + size, empty + (size == 0)
                if empty > MAX_EMPTY:
                    raise DataError(f"{path} holds more than {MAX_EMPTY:,} empty files: refused")
                if written > max(MAX_RATIO * used, ALWAYS_ALLOWED) or count > MAX_MEMBERS:
                    raise DataError(f"{path} grows beyond reason when unpacked: refused")
                _write(source, folder, name, size, path)
                report(what, min(position, used), used)
    except DAMAGE as error:
        if isinstance(error, DataError) or (isinstance(error, OSError) and error.errno in OUTSIDE):
            raise
        raise DataError(f"{path} is damaged or not an archive: {error}") from error
    report(what, used, used)


Member = tuple[str, int, IO[bytes], int]
"""Name, unpacked size, content, position in the archive in bytes."""


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith("/"):  # what `is_dir` asks, but of names without a character as well
                check_compression(path, info)
                with archive.open(info) as source:
                    yield info.filename, info.file_size, source, info.header_offset


def check_compression(path: Path, info: zipfile.ZipInfo) -> None:
    """Refuse a member that is packed in other ways than the usual: these take as much memory as it says."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}: {info.filename!r} is neither stored nor deflated: refused")


def _tar_members(path: Path) -> Iterator[Member]:
    openers: dict[str, Callable[[IO[bytes]], Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open}
    opener = openers.get(path.suffix.lower())
    # the stream is read to its end, which also checks the compression's own checksum
    with path.open("rb") as file, opener(file) if opener else file as stream:
        with tarfile.open(fileobj=cast("IO[bytes]", _Frugal(stream)), mode="r:") as archive:
            for info in archive:
                if info.isdir():
                    continue
                source = archive.extractfile(info) if info.isreg() else None
                if source is None:
                    raise DataError(f"{path} holds {info.name!r}, which is not a regular file")
                yield info.name, info.size, source, file.tell()
        if sum(len(rest) for rest in iter(lambda: stream.read(CHUNK), b"")) < tarfile.BLOCKSIZE:
            raise DataError(f"{path} is truncated: it lacks the mark of its end")


class _Frugal:
    """A file that reads little at once, whatever a header announces: Python takes the memory before it reads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, at most `CHUNK`."""
        return self._file.read(min(size, CHUNK))


def _write(source: IO[bytes], folder: Path, name: str, size: int, archive: Path) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if not parts.parts:
        raise DataError(f"{archive} is damaged: a file in it has no name")
    if parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise DataError(f"{archive} would write outside its folder: {name!r}")
    target = folder.joinpath(*parts.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)
    if target.stat().st_size != size:
        raise DataError(f"{archive} is damaged: {target.name} is shorter than announced")
