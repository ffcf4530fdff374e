"""Download or import of a data set into the cache, whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from agscl.benchmarks.formats.folder import read_tree
from agscl.benchmarks.formats.npz import read_npz
from agscl.benchmarks.formats.source import Source
from agscl.extras import require

from .archives import is_archive, unpack
from .cache import Cache, Manifest
from .catalogue import DataSet, data_set
from .checksums import Checksums
from .errors import DataError
from .names import is_class_of
from .raw import RawSet, Report, as_text, no_report


def import_set(  # noqa: PLR0913 - the last four are asked for by name
    name: str,
    path: Path,
    cache: Cache | None = None,
    *,
    size: int | None = None,
    checksums: Iterable[str] = (),
    replace: bool = False,
    report: Report = no_report,
) -> Manifest:
    """Read a data set from a user's files and keep it in the cache.

    Args:
        name: Which data set of the catalogue it is.
        path: A torchvision folder, the original archive or archives, the folder they unpack to, a tree of
            image folders, or an ``.npz`` file.
        cache: Where to keep it; default: the platform's cache folder.
        size: Side of the stored images in pixels, for sets of large images.
        checksums: md5 or sha256 of further files that you vouch for; pickles are read only from files that
            are known or vouched for.
        replace: Whether it may take the place of an intact set that holds something else.
        report: Told about progress.

    Raises:
        DataError: If a file is missing, truncated, tampered with or foreign; names it. The cache is then as
            it was before.
    """
    entry, smallest, largest = data_set(name), 16, 1024
    if size is not None:
        if not entry.resizable:
            raise DataError(f"images of {entry.name} are always {entry.shape[1]} pixels wide")
        if not smallest <= size <= largest:
            raise DataError(f"the size of stored images must be {smallest} to {largest} pixels, got {size}")
        entry = dataclasses.replace(entry, shape=(entry.shape[0], size, size))
    return import_entry(entry, path, cache or Cache(), frozenset(checksums), report, replace=replace)


def download_set(name: str, cache: Cache | None = None, report: Report = no_report) -> Manifest:
    """Download a data set through torchvision and keep it in the cache; an intact one is left alone.

    Args:
        name: Which data set of the catalogue.
        cache: Where to keep it; default: the platform's cache folder.
        report: Told about progress.

    Raises:
        DataError: If torchvision has no such set (says where to get it), or the download failed.
        MissingExtraError: If torchvision is not installed.
    """
    entry, cache = data_set(name), cache or Cache()
    if entry.torchvision is None:
        raise DataError(
            f"{name} cannot be downloaded by itself: get it from {entry.origin}, "
            f"then agscl data import {name} --from PATH"
        )
    with cache.locked(name):
        if name in cache:
            return cache.verify(name)
        with cache.scratch(name) as folder:
            _download(entry, *entry.torchvision, folder)
            return _import_locked(entry, folder, cache, Checksums(entry.checksums), report)


def import_entry(
    entry: DataSet,
    path: Path,
    cache: Cache,
    trusted: frozenset[str] = frozenset(),
    report: Report = no_report,
    *,
    replace: bool = False,
) -> Manifest:
    """Like :func:`import_set`, for any entry, in the catalogue or not."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    checksums = Checksums(entry.checksums, trusted)
    with cache.locked(entry.name):
        return _import_locked(entry, path, cache, checksums, report, replace=replace)


def _import_locked(
    entry: DataSet, path: Path, cache: Cache, checksums: Checksums, report: Report, *, replace: bool = True
) -> Manifest:
    with cache.scratch(entry.name) as scratch:
        raw, original = _read(entry, Source(path, checksums, False, entry.shape, entry.hint), scratch, report)
        if raw is None:
            raise DataError(f"{path} holds nothing that can be read as {entry.title} (from {entry.origin})")
        return cache.store(
            entry.name, _checked(entry, raw, path, original=original), as_text(path.name), report, replace=replace
        )


def _read(entry: DataSet, source: Source, scratch: Path, report: Report) -> tuple[RawSet | None, bool]:
    """Try the path as it is, then what its archives hold, then as a tree of image folders.

    Returns:
        The set, and whether it came in its original format, which no other set has.
    """
    if is_archive(source.path):
        source = _unpacked(source, [source.path], scratch, report)
    elif (raw := read_npz(source)) is not None:
        return raw, False
    elif (raw := entry.reader(source)) is not None:
        return raw, True
    elif source.path.is_dir():
        known = [path for path in sorted(source.path.iterdir()) if path.name in entry.checksums and is_archive(path)]
        source = _unpacked(source, known, scratch, report) if known else source
    if (raw := entry.reader(source)) is not None:
        return raw, True
    return read_tree(source.path, source.shape), False


def _unpacked(source: Source, archives: list[Path], scratch: Path, report: Report) -> Source:
    """Unpack archives into ``scratch``; their files are as good as the archives' checksums."""
    passed = [source.checksums.passes(archive) for archive in archives]
    for archive in archives:
        unpack(archive, scratch, report)
    return dataclasses.replace(source, path=scratch, vouched=all(passed))


def _checked(entry: DataSet, raw: RawSet, path: Path, *, original: bool) -> RawSet:
    """Refuse what cannot be this set; give the classes their official names if they have none."""
    shapes = (entry.shape, *entry.other_shapes)
    square = raw.image_shape[0] == entry.shape[0] and raw.image_shape[1] == raw.image_shape[2]
    if raw.image_shape not in shapes and not (entry.resizable and square):
        raise DataError(f"{path} is not {entry.title}: images are {raw.image_shape}, not {entry.shape}")
    if not 1 < len(raw.classes) <= entry.num_classes:
        raise DataError(f"{path} is not {entry.title}: {len(raw.classes)} of {entry.num_classes} classes")
    if raw.named and entry.classes and not set(raw.classes) & set(entry.classes):
        raise DataError(f"{path} is not {entry.title}: its classes are {', '.join(raw.classes[:3])}, ...")
    strangers = [name for name in raw.classes if not is_class_of(entry.name, entry.classes, name)]
    if raw.named and not original and strangers:
        raise DataError(
            f"{path} is not {entry.title}, which has no class {', '.join(strangers[:3])}: own data gets a name of its "
            "own (agscl data import OWN-NAME --from PATH)"
        )
    return raw if raw.named or not entry.classes else dataclasses.replace(raw, classes=entry.classes)


def _download(entry: DataSet, class_name: str, parts: Iterable[Mapping[str, object]], folder: Path) -> None:
    """Let torchvision fetch the originals, which it checks against their checksums."""
    datasets = require("torchvision.datasets", extra="vision")
    try:
        for part in parts:
            with contextlib.redirect_stdout(io.StringIO()):
                getattr(datasets, class_name)(str(folder), download=True, **part)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise DataError(f"downloading {entry.name} failed: {reason}; it is also at {entry.origin}") from error
