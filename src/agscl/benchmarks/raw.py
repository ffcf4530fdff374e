"""A data set between a reader and the cache: a header and a stream of pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .found import Found

Pixels = NDArray[np.uint8]
"""Images as bytes, shape ``(n, C, H, W)``."""

Report = Callable[[str, int, int], None]
"""Told ``(what is being done, how many are done, how many there are)``, for a progress bar."""


def no_report(what: str, done: int, total: int) -> None:
    """Show nothing."""


class Piece(NamedTuple):
    """Some consecutive images, their classes, and whether the official split keeps them for testing or validation."""

    images: Pixels
    labels: NDArray[np.int64]
    is_test: NDArray[np.bool_]
    is_validation: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class RawSet:
    """A data set as a reader streams it.

    Attributes:
        classes: Names of the classes, in label order; what is no text in them is written as an escape.
        image_shape: Shape of each image, ``(C, H, W)``.
        count: Number of images.
        pieces: The images, in order; read as they are asked for.
        named: Whether the source names the classes; else their names are only numbers.
        has_validation: Whether the source keeps examples for validation: then every piece has their marks.
        found: What else the reader came across; whole when all pieces were read.
    """

    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    count: int
    pieces: Iterator[Piece]
    named: bool = True
    has_validation: bool = False
    found: Found = field(default_factory=Found)

    @classmethod
    def of(cls, classes: tuple[str, ...], pieces: Sequence[Piece], *, named: bool = True) -> RawSet:
        """A set whose pieces are in memory already."""
        count = sum(len(part.images) for part in pieces)
        return cls(classes, pieces[0].images.shape[1:], count, iter(pieces), named)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(map(as_text, self.classes)))


def as_text(name: str) -> str:
    r"""A name, perhaps of a file, with escapes such as ``\udce9`` for what is no text.

    Example:
        >>> as_text("cat\udce9")
        'cat\\udce9'
    """
    return name.encode(errors="backslashreplace").decode()


def piece(images: Pixels, labels: NDArray[np.integer], *, is_test: bool) -> Piece:
    """A piece all of whose images are on one side of the split; labels are positions of the classes."""
    return Piece(images, labels.astype(np.int64), np.full(len(images), is_test))
