"""Which data sets are missing, and the command that gets each of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .cache import Cache
from .catalogue import DataSet, data_set
from .errors import DataError


def require_sets(names: Iterable[str], root: Path | None = None) -> None:
    """Refuse to go on without data.

    Args:
        names: The data sets needed.
        root: Folder of the data sets; default: the platform's cache folder.

    Raises:
        DataError: If one is not in the folder; the message has the commands that get all that are missing.
    """
    cache = Cache(root)
    missing = [data_set(name) for name in names if name not in cache]
    if missing:
        place = "" if root is None else f" --data-root {root}"
        commands = "; ".join(_command(entry, place) for entry in missing)
        titles = ", ".join(entry.name for entry in missing)
        raise DataError(f"no {titles} in {cache.root}; to get what is missing, run {commands}")


def _command(entry: DataSet, place: str) -> str:
    by_hand = f"`agscl data import {entry.name} --from PATH{place}`"
    if entry.torchvision:
        return f"`agscl data download {entry.name}{place}` (or {by_hand})"
    return f"{by_hand} on what {entry.origin} offers"
