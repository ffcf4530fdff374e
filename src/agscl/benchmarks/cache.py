"""The data folder: data sets as memory-mapped bytes, checksummed, versioned and written atomically.

A set ``NAME`` is a small file ``NAME.json`` and a folder ``NAME-DIGEST`` with three arrays in numpy's format.
The JSON file is renamed into place last and is what makes a set exist; the folder's name comes from the
checksums of its contents, so that no reader ever sees a mixture of two imports.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from platformdirs import user_cache_path
from pydantic import ConfigDict, TypeAdapter, ValidationError

from .catalogue import data_set
from .checksums import file_digest
from .errors import DataError
from .image_set import ImageSet
from .npy import read_header
from .raw import Piece, RawSet, Report, as_text, no_report
from .regular import read_regular, require_regular
from .room import room

FORMAT = 1
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""Of a data set."""
SCRATCH = re.compile(rf"\.(?P<name>{NAME.pattern})\.[^.]*\.part")
"""A temporary folder of a process that writes a set."""
STORED = re.compile(rf"(?P<name>{NAME.pattern})-[0-9a-f]{{12}}")
"""The folder with a set's arrays."""
CHECKED_WHEN_OPENED = 2**30
"""Sets up to this many bytes (a second of work) are checksummed whenever they are opened."""

ARRAYS: dict[str, np.dtype[Any]] = {
    "images": np.dtype(np.uint8),
    "labels": np.dtype("<i8"),
    "is_test": np.dtype(np.bool_),
}
"""Of every set."""

VALIDATION = {"is_validation": np.dtype(np.bool_)}
"""Of sets whose source keeps examples for validation."""


@dataclass(frozen=True)
class Manifest:
    """Content of ``NAME.json``.

    Attributes:
        format: Version of the cache format.
        name: Name of the data set.
        classes: Names of the classes, in label order.
        image_shape: Shape of one image, ``(C, H, W)``.
        count: Number of images.
        num_test: How many of them the official split keeps for testing.
        sha256: Checksum of each array's file.
        source: Name of the file or folder that was imported.
        notes: What was found besides good images, for people.
        origin: Of sets that are kept only so as not to decode them again: which folder they are of, and how it was
            read.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    format: int
    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    count: int
    num_test: int
    sha256: dict[str, str]
    source: str
    notes: tuple[str, ...] = ()
    origin: str = ""

    @property
    def arrays(self) -> dict[str, np.dtype[Any]]:
        """The arrays that it has."""
        return {**ARRAYS, **(VALIDATION if VALIDATION.keys() & self.sha256.keys() else {})}

    @property
    def fingerprint(self) -> str:
        """Twelve digits that stand for the arrays' contents."""
        joined = " ".join(f"{name}={self.sha256.get(name)}" for name in self.arrays)
        return hashlib.sha256(joined.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Name of the folder that holds the arrays."""
        return f"{self.name}-{self.fingerprint}"


class Cache:
    """The data sets in one folder.

    Args:
        root: The folder; default: the platform's cache folder. Made when something is written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = user_cache_path("agscl") / "data" if root is None else Path(root)

    def manifest(self, name: str) -> Manifest:
        """The manifest of a set.

        Raises:
            DataError: If it is not here, or its record is damaged or of another version.
        """
        path = self._record(name)
        try:
            manifest = TypeAdapter(Manifest).validate_json(read_regular(path))
        except FileNotFoundError as error:
            raise DataError(f"data set {name!r} is not in {self.root}: `agscl data list` says how to get it") from error
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "JSON"
            raise DataError(f"{path} is damaged or of another version: {where}: {problem['msg']}") from error
        if (manifest.format, manifest.name, set(manifest.sha256)) != (FORMAT, name, set(manifest.arrays)):
            raise DataError(f"{path} is foreign: format {manifest.format} of {manifest.name!r}")
        if not 0 <= manifest.num_test <= manifest.count or len(manifest.classes) < 1:
            raise DataError(
                f"{path} is damaged: {manifest.num_test} of {manifest.count} images for testing, "
                f"{len(manifest.classes)} classes"
            )
        return manifest

    def __contains__(self, name: str) -> bool:
        return self._record(name).is_file()

    def load(self, name: str) -> ImageSet:
        """Open a set as memory maps.

        Sizes, shapes and labels are always checked, checksums of sets up to 1 GiB too.

        Raises:
            DataError: If the set is not here, or a file is missing, truncated or changed.
        """
        manifest = self.manifest(name)
        maps = {array: self._open(manifest, array) for array in manifest.arrays}
        if sum(values.nbytes for values in maps.values()) <= CHECKED_WHEN_OPENED:
            self._compare(manifest)
        images, labels, is_test, *validation = (torch.from_numpy(values) for values in maps.values())
        if int(is_test.sum()) != manifest.num_test:
            raise DataError(f"{self._record(name)} is damaged: it counts {manifest.num_test} test images")
        aside, notes = validation[0] if validation else None, manifest.notes
        return ImageSet(name, images, labels, is_test, manifest.classes, manifest.fingerprint, aside, notes)

    def verify(self, name: str) -> Manifest:
        """Read a whole set and compare it with its checksums.

        Raises:
            DataError: If a file is missing, truncated or changed; names the file.
        """
        manifest = self.manifest(name)
        maps = {array: self._open(manifest, array) for array in manifest.arrays}
        self._compare(manifest)
        if int(maps["is_test"].sum()) != manifest.num_test:
            raise DataError(f"{self._record(name)} is damaged: it counts {manifest.num_test} test images")
        return manifest

    def store(
        self,
        name: str,
        raw: RawSet,
        source: str,
        report: Report = no_report,
        *,
        origin: str = "",
        replace: bool = True,
    ) -> Manifest:
        """Write a set, replacing one of the same name; nothing changes unless all of it could be written.

        Call it while holding :meth:`locked`.

        Args:
            name: Name of the set.
            raw: Its images.
            source: Name of the file or folder that they are from.
            report: Told about progress.
            origin: Of what it is kept, see `Manifest`.
            replace: Whether it may take the place of another set of that name that is intact.

        Raises:
            DataError: If it may not.
        """
        with room(f"{name}, from {source},", self.root, _size(raw)), self.scratch(name) as folder:
            manifest = dataclasses.replace(_write_arrays(folder, name, raw, source, report), origin=origin)
            present = None
            with suppress(DataError):
                present = self.verify(name)
            if present == manifest:  # just this is stored already
                return manifest
            if present is not None and present.fingerprint != manifest.fingerprint and not replace:
                held = f"{present.count:,} images of {len(present.classes)} classes from {present.source}"
                raise DataError(f"{name} is here already, {held}: --replace puts what {source} holds in its place")
            target = self.root / manifest.folder
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
            with self.scratch(name) as aside, (aside / "record").open("wb") as file:
                file.write(TypeAdapter(Manifest).dump_json(manifest, indent=1, exclude_defaults=True))
                _sync(file)
                Path(file.name).chmod(0o644)
                Path(file.name).replace(self._record(name))
        self._remove_arrays(name, but=manifest.folder)
        return manifest

    def remove(self, name: str) -> None:
        """Remove a set from the folder.

        Raises:
            DataError: If it is not here.
        """
        if name not in self:
            raise DataError(f"data set {name!r} is not in {self.root}: nothing to remove")
        with self.locked(name):
            self.remove_locked(name)
        (self.root / f".{name}.lock").unlink(missing_ok=True)

    def remove_locked(self, name: str) -> None:
        """Remove a set while holding :meth:`locked`."""
        self._record(name).unlink(missing_ok=True)
        self._remove_arrays(name)

    def origin(self, name: str) -> str:
        """What a set is kept of, see `Manifest`; empty if it is damaged or there for itself."""
        try:
            return self.manifest(name).origin
        except DataError:
            return ""

    def names(self) -> list[str]:
        """Names of all sets that are here, in order."""
        records = sorted(self.root.glob("*.json")) if self.root.is_dir() else []
        return [path.stem for path in records if NAME.fullmatch(path.stem)]

    def _remove_arrays(self, name: str, but: str = "") -> None:
        for old in self.root.glob(f"{name}-*"):
            if re.fullmatch(re.escape(name) + r"-[0-9a-f]{12}", old.name) and old.name != but:
                shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other processes from writing this set meanwhile; also clears up after any that died."""
        self._record(name)
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f".{name}.lock"):
            self._clear_after_the_dead(name)
            yield

    def _clear_after_the_dead(self, held: str) -> None:
        """Remove what killed processes left, of the set that is held and of all that nobody holds."""
        left: dict[str, list[Path]] = {}
        for path in self.root.iterdir():
            if match := SCRATCH.fullmatch(path.name) or STORED.fullmatch(path.name):
                left.setdefault(match["name"], []).append(path)
        for name, paths in left.items():
            with ExitStack() as stack:
                if name != held:
                    try:
                        stack.enter_context(FileLock(self.root / f".{name}.lock", timeout=0))
                    except (Timeout, OSError):
                        continue
                for path in paths:
                    if SCRATCH.fullmatch(path.name) or (name not in self and _is_stored(path)):
                        shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A temporary folder beside the sets, removed at the end unless it was renamed."""
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".part", dir=self.root))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _record(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"a data set's name is lower-case letters, digits and single hyphens: {name!r}")
        return self.root / f"{name}.json"

    def _open(self, manifest: Manifest, array: str) -> NDArray[Any]:
        path = self.root / manifest.folder / f"{array}.npy"
        try:
            with require_regular(path).open("rb") as file:
                header, start = read_header(file, path), file.tell()
        except OSError as error:
            raise DataError(f"{path} is missing or cannot be read: {error}") from error
        shape = _shapes(manifest.count, manifest.image_shape)[array]
        if (header.shape, header.dtype, header.fortran) != (shape, manifest.arrays[array], False):
            raise DataError(f"{path} is foreign: {header.dtype} {header.shape} is not what was stored")
        if path.stat().st_size != start + header.nbytes or not header.nbytes:
            raise DataError(f"{path} is truncated or damaged: its size is not what it announces")
        return np.memmap(path, header.dtype, "c", start, header.shape)

    def _compare(self, manifest: Manifest) -> None:
        for array, expected in manifest.sha256.items():
            path = self.root / manifest.folder / f"{array}.npy"
            if file_digest(path, "sha256") != expected:
                raise DataError(f"{path} was changed after the import: agscl data import it again")


def _size(raw: RawSet) -> int:
    """Bytes that a set takes on the disk, its headers aside."""
    return raw.count * (math.prod(raw.image_shape) + sum(kind.itemsize for kind in {**ARRAYS, **VALIDATION}.values()))


def _is_stored(path: Path) -> bool:
    """Whether a folder holds arrays of a set and nothing else."""
    names = {f"{array}.npy" for array in (*ARRAYS, *VALIDATION)}
    return path.is_dir() and not path.is_symlink() and {inside.name for inside in path.iterdir()} <= names


def _shapes(count: int, image_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    return {"images": (count, *image_shape), **dict.fromkeys(("labels", "is_test", "is_validation"), (count,))}


def _write_arrays(folder: Path, name: str, raw: RawSet, source: str, report: Report) -> Manifest:
    """Write the three arrays of a set and describe them."""
    shapes, arrays = _shapes(raw.count, raw.image_shape), {**ARRAYS, **(VALIDATION if raw.has_validation else {})}
    num_test = done = 0
    with ExitStack() as stack:
        files = {array: stack.enter_context((folder / f"{array}.npy").open("wb")) for array in arrays}
        for array, file in files.items():
            header = {"descr": np.lib.format.dtype_to_descr(arrays[array]), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, {**header, "shape": shapes[array]})
        for piece in raw.pieces:
            _check(name, raw, piece)
            for array, file in files.items():
                file.write(np.ascontiguousarray(getattr(piece, array)).data)
            num_test, done = num_test + int(piece.is_test.sum()), done + len(piece.images)
            report(f"importing {name}", done, raw.count)
        for file in files.values():
            _sync(file)
    if done != raw.count or not done:
        raise DataError(f"{source}: {done} images found, {raw.count} announced")
    sha256 = {array: file_digest(folder / f"{array}.npy", "sha256") for array in arrays}
    notes = tuple(map(as_text, raw.found.lines()))
    return Manifest(FORMAT, name, raw.classes, raw.image_shape, raw.count, num_test, sha256, source, notes)


def _check(name: str, raw: RawSet, piece: Piece) -> None:
    """Refuse a piece that is not what the header of its set announced."""
    images, labels, is_test, _ = piece
    if raw.has_validation and piece.is_validation is None:
        raise DataError(f"{name}: images without marks of who is for validation")
    if images.dtype != np.uint8 or images.shape[1:] != raw.image_shape:
        raise DataError(f"{name}: images of {images.dtype} {images.shape[1:]} where {raw.image_shape} belong")
    if (labels.dtype, is_test.dtype) != (ARRAYS["labels"], ARRAYS["is_test"]):
        raise DataError(f"{name}: labels of {labels.dtype} and split marks of {is_test.dtype}")
    if not len(images) == len(labels) == len(is_test):
        raise DataError(f"{name}: {len(images)} images with {len(labels)} labels")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(raw.classes):
        raise DataError(f"{name}: labels {labels.min()} to {labels.max()} for {len(raw.classes)} classes")


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def require_sets(names: Iterable[str], root: Path | None = None) -> None:
    """Refuse to go on without data.

    Raises:
        DataError: If one is not in the folder; the message has the commands that get all that are missing.

    Args:
        names: The data sets needed.
        root: Folder of the data sets; default: the platform's cache folder.
    """
    cache = Cache(root)
    missing = [data_set(name) for name in names if name not in cache]
    if not missing:
        return
    where, commands = "" if root is None else f" --data-root {root}", []
    for entry in missing:
        by_hand = f"`agscl data import {entry.name} --from PATH{where}`"
        download = f"`agscl data download {entry.name}{where}` (or {by_hand})"
        commands.append(download if entry.torchvision else f"{by_hand} on what {entry.origin} offers")
    titles = ", ".join(entry.name for entry in missing)
    raise DataError(f"no {titles} in {cache.root}; to get what is missing, run {'; '.join(commands)}")
