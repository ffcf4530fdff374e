"""Own data imported under a name of its own, to be listed, verified, removed, and learned by that name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from agscl.benchmarks.archives import is_archive, unpack
from agscl.benchmarks.cache import NAME, Cache, Manifest
from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.formats.folder import Tree, list_tree
from agscl.benchmarks.found import Found
from agscl.benchmarks.image_set import ImageSet
from agscl.benchmarks.raw import Piece, RawSet, Report, as_text, no_report
from agscl.benchmarks.regular import require_regular

from .arrays import read_arrays
from .source import KEPT, LARGEST, SIDE, SMALLEST
from .table import list_table

ALIKE = 0.8
"""A name as like as this to one of the catalogue is a slip."""


def import_own(
    name: str,
    path: Path,
    cache: Cache | None = None,
    *,
    size: int | None = None,
    replace: bool = False,
    report: Report = no_report,
) -> Manifest:
    """Keep own images under a name.

    Args:
        name: Lower-case letters, digits and hyphens; none of the catalogue's.
        path: A folder or an archive of image folders, an ``.npz`` file, or a ``.csv`` table of images.
        cache: Where to keep it; default: the platform's cache folder.
        size: Side of the stored images in pixels, for folders and tables (default: 64).
        replace: Whether it may take the place of another set of that name.
        report: Told about progress.

    Raises:
        DataError: If the name cannot be used, or the data cannot be read right. The cache is then as it was.
    """
    _require_name(name)
    cache = cache or Cache()
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise DataError(f"the size of images must be {SMALLEST} to {LARGEST} pixels, got {size}")
    if not path.exists():
        raise DataError(f"{path} does not exist")
    with cache.locked(name), _raw(name, path, size, cache, report) as raw:
        if len(raw.classes) < 2:  # noqa: PLR2004
            raise DataError(f"{path} has one class only, {raw.classes[0]!r}: there is nothing to tell it from")
        return cache.store(name, raw, as_text(path.name), report, replace=replace)


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise DataError(f"a data set's name is lower-case letters, digits and single hyphens: {name!r}")
    if name in CATALOGUE or name.startswith(KEPT):
        raise DataError(f"{name!r} cannot name own data: choose another name")
    if close := difflib.get_close_matches(name, CATALOGUE, 1, ALIKE):
        raise DataError(f"did you mean {close[0]}? Own data needs a name that is less like it than {name!r}")


@contextmanager
def _raw(name: str, path: Path, size: int | None, cache: Cache, report: Report) -> Iterator[RawSet]:
    """The set, readable within the context."""
    if path.suffix.lower() == ".npz":
        if size is not None:
            raise DataError(f"images of {path} are stored in one size: leave the size away")
        yield _in_memory(path)
        return
    with cache.scratch(name) as folder:
        if is_archive(path):
            unpack(path, folder, report)
        tree = _tree(path, folder if is_archive(path) else path)
        yield tree.read((3, size or SIDE, size or SIDE))


def _tree(path: Path, folder: Path) -> Tree:
    tree = list_tree(folder) if folder.is_dir() else list_table(require_regular(path))
    if tree is None:
        raise DataError(f"{path} has no folders with images: expected CLASS/IMAGE, or train/CLASS/IMAGE")
    return tree


def _in_memory(path: Path) -> RawSet:
    own = read_arrays(path)
    if not isinstance(own, ImageSet):
        raise DataError(f"{path} holds features, not images: learn them where they are, as npz:{path}")
    aside = np.zeros(len(own), np.bool_) if own.is_validation is None else own.is_validation.numpy()
    piece = Piece(own.images.numpy(), own.labels.numpy(), own.is_test.numpy(), aside)
    found = Found(said=list(own.notes))
    return RawSet(own.classes, own.image_shape, len(own), iter([piece]), has_validation=bool(aside.any()), found=found)
