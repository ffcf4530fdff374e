"""Where own data is, and how it becomes a set: ``folder:PATH``, ``npz:FILE``, ``csv:FILE``, or ``set:NAME``.

Images of folders and tables are decoded once, into the data folder, and mapped from there; what is kept is found again
by names, sizes, times and places of all files, and replaced when one of them changes.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from agscl.benchmarks.cache import Cache, Manifest
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.formats.folder import list_tree
from agscl.benchmarks.formats.walk import file_facts, listing_digest
from agscl.benchmarks.image_set import ImageSet
from agscl.benchmarks.raw import RawSet, Report, as_text, no_report

from .arrays import read_arrays
from .features import FeatureSet
from .table import list_table

OwnSet = ImageSet | FeatureSet
KINDS = ("folder", "npz", "csv", "set")
SIDE = 64
"""Side in pixels to which images of folders and tables are scaled, unless another is asked for."""
SMALLEST, LARGEST = 4, 1024
"""Sides that may be asked for."""
KEPT = "own-"
"""What the names of sets begin with that are kept only so as not to decode them again."""


@dataclass(frozen=True)
class OwnSource:
    """A place with own data.

    Example:
        >>> print(OwnSource.parse("npz:mine.npz").kind)
        npz

    Attributes:
        kind: One of `KINDS`.
        place: A whole path, or the name of an imported set.
    """

    kind: str
    place: str

    @classmethod
    def parse(cls, text: str) -> OwnSource:
        """A source from what a user wrote; a `DataError` if it is none."""
        kind, _, place = text.partition(":")
        if kind not in KINDS or not place:
            raise DataError(f"own data is folder:PATH, npz:FILE, csv:FILE or set:NAME, not {text!r}")
        return cls(kind, place if kind == "set" else str(Path(place).expanduser().absolute()))

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"

    @property
    def name(self) -> str:
        """A short name for people: of the folder, of the file without its ending, of the set."""
        path = Path(self.place)
        name = self.place if self.kind == "set" else path.name if self.kind == "folder" else path.stem
        return as_text(name) or self.kind


def is_own(text: str) -> bool:
    """Whether a name asks for own data.

    >>> is_own("folder:photos"), is_own("digits")
    (True, False)
    """
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind in KINDS


def open_source(source: OwnSource, size: int | None, cache: Cache, report: Report = no_report) -> OwnSet:
    """Own data, read right or refused.

    Args:
        source: Where it is.
        size: Side to which images of folders and tables are scaled; other images are stored as they are.
        cache: Keeps what was decoded.
        report: Told about progress.

    Raises:
        DataError: If it is missing, damaged, or cannot be told what it means; names the file.
    """
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise DataError(f"the size of images must be {SMALLEST} to {LARGEST} pixels, got {size}")
    if source.kind in ("npz", "set") and size is not None:
        raise DataError(f"images of {source} are stored in one size: leave the size away")
    if source.kind == "npz":
        own: OwnSet = read_arrays(Path(source.place))
    elif source.kind == "set":
        own = cache.load(source.place)
    else:
        own = _decoded(source, size or SIDE, cache, report)
    if len(own.classes) < 2:  # noqa: PLR2004
        raise DataError(f"{source.place} has one class only, {own.classes[0]!r}: there is nothing to tell it from")
    return replace(own, name=source.name)


def identity(own: OwnSet) -> str:
    """Sixteen digits that stand for the examples, their classes and their split, wherever they lie."""
    return _identity(own.fingerprint, own.classes)


def identity_of(manifest: Manifest) -> str:
    """The same of a set that is kept, without opening it."""
    return _identity(manifest.fingerprint, manifest.classes)


def _identity(fingerprint: str, classes: tuple[str, ...]) -> str:
    content = json.dumps([fingerprint, classes])
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:16]


def found_in(own: OwnSet) -> str:
    """What was found, in one line.

    Raises nothing; what is suspicious begins with WARNING.
    """
    if isinstance(own, ImageSet):
        channels, height, width = own.image_shape
        what = f"{'grey' if channels == 1 else 'colour'} images of {width}x{height} pixels"
    else:
        what = f"examples of {'x'.join(map(str, own.values.shape[1:]))} numbers"
    test = int(own.is_test.sum())
    aside = 0 if own.is_validation is None else int(own.is_validation.sum())
    split = ", ".join(
        [
            f"{len(own) - test - aside:,} for training",
            f"{aside:,} for validation" if aside else "validation drawn from them",
            f"{test:,} for testing" if test else "testing drawn from them",
        ]
    )
    return "; ".join([f"{own.name}: {len(own.classes)} classes, {len(own):,} {what}: {split}", *own.notes])


def _decoded(source: OwnSource, size: int, cache: Cache, report: Report) -> ImageSet:
    """The images of a folder or a table, from the data folder if they are there already."""
    path = Path(source.place)
    if source.kind == "folder" and not path.is_dir():
        raise DataError(f"{path} is not a folder")
    name = KEPT + _digest(source, size)
    if name in cache:
        return cache.load(name)
    with ExitStack() as stack:
        try:
            stack.enter_context(cache.locked(name))
        except PermissionError as error:
            raise DataError(f"{cache.root} cannot be written: choose another folder for data (--data-root)") from error
        if name not in cache:
            raw, origin = _listed(source, size), as_text(f"{source} {size}")
            cache.store(name, raw, as_text(path.name), report, origin=origin)
            if KEPT + _digest(source, size) != name:
                cache.remove_locked(name)
                raise DataError(f"{path} changed while it was read: try again")
            for old in cache.names():
                if old.startswith(KEPT) and old != name and cache.origin(old) == origin:
                    cache.remove(old)
    return cache.load(name)


def _listed(source: OwnSource, size: int) -> RawSet:
    path = Path(source.place)
    tree = list_tree(path) if source.kind == "folder" else list_table(path)
    if tree is None:
        raise DataError(
            f"{path} has no folders with images: expected CLASS/IMAGE, or train/CLASS/IMAGE and test/CLASS/IMAGE"
        )
    return tree.read((3, size, size))


def _digest(source: OwnSource, size: int) -> str:
    """Digest of all that can tell a change of the files."""
    path = Path(source.place)
    if source.kind == "folder":
        return listing_digest(path, size)
    digest = hashlib.sha256(os.fsencode(f"{path.resolve()} {size} {file_facts(path)}\n"))
    for sample in list_table(path).samples:
        facts = (os.path.realpath(sample.path), file_facts(sample.path), sample.label, sample.is_test)
        digest.update(os.fsencode(f"{facts} {sample.is_validation}\n"))
    return digest.hexdigest()[:16]
