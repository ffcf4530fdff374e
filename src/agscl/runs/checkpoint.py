"""Checkpoints of a run: one file each, written whole, checked when read, and never only one.

A file's name ends with the digest of its content, so that a single flipped byte is noticed; the content is
safetensors with a JSON record and the version of the format in its header.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .files import tensor_bytes, tensors_in, write_bytes

VERSION = "2"
"""Of what a checkpoint holds; other versions are refused."""

AGAIN = "begin again in a new folder with --out, or finish the run with the agscl that began it"
"""The way out where checkpoints cannot be used."""

KEPT = 2
"""Newest checkpoints that stay on disk."""

NAME = re.compile(r"(?P<number>\d{8,})-(?P<digest>[0-9a-f]{32})\.safetensors")
HEADER_LENGTH = 8


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on.

    Attributes:
        record: JSON of everything that is no tensor.
        tensors: All tensors by name.
    """

    record: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one run.

    Attributes:
        path: The folder; made by the first checkpoint.
    """

    path: Path

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove all but the newest; returns its file.

        Raises:
            OSError: If it cannot be written; the earlier ones stay.
        """
        self.path.mkdir(exist_ok=True)
        found = self._numbered()
        metadata = {"agscl-checkpoint": VERSION, "record": checkpoint.record}
        content = tensor_bytes(checkpoint.tensors, metadata)
        number = found[0][0] + 1 if found else 1
        path = self.path / f"{number:08d}-{_digest(content)}.safetensors"
        write_bytes(path, content)
        for _, old in found[KEPT - 1 :]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; a damaged one is passed over with a warning.

        Raises:
            ValueError: If the newest whole one is of another version of the format.
        """
        for _, path in self._numbered():
            content = path.read_bytes()
            if _digest(content) != path.stem.partition("-")[2]:
                warnings.warn(f"checkpoint {path} is damaged; the one before it is used", stacklevel=2)
                continue
            tensors, length = tensors_in(content, path), int.from_bytes(content[:HEADER_LENGTH], "little")
            metadata = json.loads(content[HEADER_LENGTH : HEADER_LENGTH + length]).get("__metadata__", {})
            version = metadata.get("agscl-checkpoint")
            if version != VERSION or "record" not in metadata:
                what = f"{path} is a checkpoint of version {version}"
                raise ValueError(f"{what}, this agscl reads version {VERSION}: {AGAIN}")
            return Checkpoint(metadata["record"], tensors)
        return None

    def latest(self) -> Path | None:
        """File of the newest checkpoint, unread."""
        found = self._numbered()
        return found[0][1] if found else None

    def clear(self) -> None:
        """Remove the folder: the run is complete."""
        if self.path.is_dir():
            for path in self.path.iterdir():
                path.unlink()
            self.path.rmdir()

    def _numbered(self) -> list[tuple[int, Path]]:
        """Number and file of each checkpoint, newest first."""
        names = ((NAME.fullmatch(path.name), path) for path in self.path.glob("*.safetensors"))
        return sorted(((int(match["number"]), path) for match, path in names if match), reverse=True)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
