"""Source of a data set: a file or folder, and what a reader should find there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agscl.benchmarks.checksums import Checksums
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import RawSet
from agscl.benchmarks.regular import is_regular

Shape = tuple[int, int, int]
SEARCH_DEPTH = 4


@dataclass(frozen=True)
class Source:
    """A file or folder to read a data set from.

    Attributes:
        path: The file or folder.
        checksums: Which files are known.
        vouched: Whether the files came out of an archive that passed its checksum.
        shape: Shape ``(C, H, W)`` of the images to deliver, where the format leaves a choice.
        hint: Name of the folder in which torchvision keeps this set.
    """

    path: Path
    checksums: Checksums
    vouched: bool
    shape: Shape
    hint: str

    def find(self, name: str) -> Path | None:
        """The file or folder of this name in the source or up to four levels below.

        One in torchvision's folder for the set is preferred.

        Raises:
            DataError: If there are several, and no way to tell which is meant.
        """
        if self.path.name == name:
            return self.path
        patterns = ["*/" * depth + name for depth in range(SEARCH_DEPTH + 1)] if self.path.is_dir() else []
        found = [path for pattern in patterns for path in sorted(self.path.glob(pattern))]
        candidates = [path for path in found if path.is_dir() or is_regular(path)]
        hinted = [path for path in candidates if self.hint in path.parts]
        chosen = hinted or candidates
        if len(chosen) > 1:
            raise DataError(f"{self.path} holds several {name}: {chosen[0]}, {chosen[1]}; point to one")
        return chosen[0] if chosen else None

    def need(self, name: str) -> Path:
        """Like :meth:`find`, for a file that must be there."""
        path = self.find(name)
        if path is None:
            raise DataError(f"{self.path} lacks {name}")
        return path


Reader = Callable[[Source], RawSet | None]
"""Reads a source; ``None`` if it does not look like the reader's format at all."""
