"""Digests of a run's files, taken as they are written and kept in ``result.json``: what changed since is noticed.

They tell damage and careless edits, not a forger who writes new digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agscl.runs import RunFolder
from agscl.runs.files import read_record, write_bytes

DIGESTS = "digests"
"""Name of the entry in ``result.json``."""

TIMES = frozenset({"seconds", "training_seconds"})
"""Entries that differ from run to run: the digest of ``result.json`` itself leaves them out."""


def remember(folder: RunFolder, path: Path) -> None:
    """Keep the digest of a file that was just written, until the run ends."""
    kept = _kept(folder)
    kept[_name(folder, path)] = file_sha256(path)
    write_bytes(folder.digests, json.dumps(kept, indent=1).encode())


def sealed(folder: RunFolder, result: bytes) -> bytes:
    """The content of ``result.json`` with the digests of all that the run wrote.

    Args:
        folder: Where the run is; its other files are written.
        result: The content without digests.
    """
    record, kept = json.loads(result), _kept(folder)
    for path in _files(folder):
        kept.setdefault(_name(folder, path), file_sha256(path))
    present = {_name(folder, path): path for path in _files(folder)}
    digests = {name: kept[name] for name in sorted(kept) if name in present}
    digests[folder.result.name] = _content_digest(record)
    return json.dumps({**record, DIGESTS: digests}, indent=2, allow_nan=False).encode() + b"\n"


def require_untouched(folder: RunFolder) -> bool:
    """Refuse a finished run one of whose files is not what it wrote.

    Returns:
        Whether the run kept digests: older ones did not, and can only be held against themselves.

    Raises:
        ValueError: If a file was changed, added or removed; names it.
        OSError: If one cannot be read.
    """
    record = read_record(folder.result)
    digests = record.pop(DIGESTS, None)
    if digests is None:
        _require_states(folder, len(record.get("tasks", [])))
        return False
    if not isinstance(digests, Mapping) or digests.get(folder.result.name) != _content_digest(record):
        raise ValueError(f"{folder.result} is not what the run wrote: its content has another digest")
    present = {_name(folder, path): path for path in _files(folder)}
    expected = {name: digest for name, digest in digests.items() if name != folder.result.name}
    for name in sorted({*present, *expected}):
        if name not in present:
            raise ValueError(f"{folder.path / name} is missing: the run wrote it")
        if name not in expected:
            raise ValueError(f"{present[name]} is not of this run: it wrote no such file")
        if file_sha256(present[name]) != expected[name]:
            raise ValueError(f"{present[name]} is not what the run wrote: its content has another digest")
    _require_states(folder, len(record.get("tasks", [])))
    return True


def _require_states(folder: RunFolder, tasks: int) -> None:
    """Refuse a folder that has not the state after each task and no more."""
    expected, present = {folder.state_after(task) for task in range(tasks)}, set(_states(folder))
    if missing := sorted(expected - present):
        raise ValueError(f"{missing[0]} is missing: the run did not keep it, or it was removed")
    if foreign := sorted(present - expected):
        raise ValueError(f"{foreign[0]} is there, but result.json has {tasks} tasks only")


def _states(folder: RunFolder) -> list[Path]:
    return sorted(folder.path.glob("states/task-*.safetensors"))


def file_sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: RunFolder) -> list[Path]:
    """What a digest is kept of: configuration, states and tables."""
    single = (folder.experiment, folder.state, folder.evaluations, folder.nodes)
    return [path for path in (*single, *_states(folder)) if path.exists()]


def _kept(folder: RunFolder) -> dict[str, str]:
    return {**read_record(folder.digests)} if folder.digests.exists() else {}


def _name(folder: RunFolder, path: Path) -> str:
    return path.relative_to(folder.path).as_posix()


def _content_digest(record: Mapping[str, Any]) -> str:
    """Digest of a record, whatever its layout, its times left out."""
    content = json.dumps(_without_times(record), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_times(part) for name, part in value.items() if name not in TIMES}
    return [_without_times(part) for part in value] if isinstance(value, list) else value
