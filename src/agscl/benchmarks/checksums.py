"""Checksums of files: those of the catalogue, and those that the user trusts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError

ALGORITHMS = {32: "md5", 64: "sha256"}
"""Digest algorithm by the number of hexadecimal digits."""


@dataclass(frozen=True)
class Checksums:
    """Which files are known.

    Attributes:
        known: Digest (md5 or sha256, hexadecimal) of each original file, by the file's name.
        trusted: Further digests, of files that the user trusts under any name.
    """

    known: Mapping[str, str]
    trusted: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for digest in (*self.known.values(), *self.trusted):
            if len(digest) not in ALGORITHMS or not set(digest) <= set("0123456789abcdef"):
                raise ValueError(f"a checksum is 32 (md5) or 64 (sha256) hexadecimal digits, got {digest!r}")

    def passes(self, path: Path, content: bytes | None = None) -> bool:
        """Whether a file is known or vouched for.

        Args:
            path: The file.
            content: What was read from it, when the caller will use exactly these bytes.

        Raises:
            DataError: If a file of this name is known and this is not it.
        """
        expected = self.known.get(path.name)
        if expected is None:
            kinds = {ALGORITHMS[len(digest)] for digest in self.trusted}
            return any(file_digest(path, kind, content) in self.trusted for kind in kinds)
        kind = ALGORITHMS[len(expected)]
        digest = file_digest(path, kind, content)
        if digest != expected and digest not in self.trusted:
            raise DataError(f"{path} is truncated or not the original: {kind} {digest}, expected {expected}")
        return True


def file_digest(path: Path, kind: str, content: bytes | None = None) -> str:
    """Hexadecimal ``"md5"`` or ``"sha256"`` of a file, or of its content when that has been read already."""
    if content is not None:
        return hashlib.new(kind, content, usedforsecurity=False).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
