"""Many runs as one table, a row a run: what was asked, how far it is, what came out. Reads runs of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import read_record
from .folder import RunFolder, run_folders

if TYPE_CHECKING:
    from polars import DataFrame

COLUMNS = ("run", "preset", "method", "options", "seed", "status", "tasks", "finished")
COMPLETE, INCOMPLETE, UNREADABLE = "complete", "incomplete", "unreadable"


def overview(paths: Iterable[Path]) -> DataFrame:
    """One row per run in the given folders.

    The columns: ``run``, ``preset``, ``method``, ``options``, ``seed``, ``status``, ``tasks`` (learned), ``finished``
    (time), and one for each measure of any of them. A run that did not finish has no measures; one that cannot be read
    is a row as well.

    Raises:
        ValueError: If a path is no folder, or holds no run.
    """
    import polars

    return polars.DataFrame([_row(folder) for folder in run_folders(paths)], infer_schema_length=None)


def _row(folder: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row["run"] = str(folder.path).encode(errors="backslashreplace").decode()  # a path may be no text
    try:
        return row | _asked(read_record(folder.experiment)) | _outcome(folder)
    except (ValueError, OSError, AttributeError):
        return row | {"status": UNREADABLE}


def _asked(experiment: Mapping[str, Any]) -> dict[str, Any]:
    method = experiment.get("method")
    options = dict(method) if isinstance(method, Mapping) else {"name": method}
    name = options.pop("name", None)
    words = " ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in options.items()
    )
    seed = experiment.get("seed")
    return {
        "preset": _text(experiment.get("preset")),
        "method": _text(name),
        "options": words,
        "seed": seed if isinstance(seed, int) else None,
    }


def _outcome(folder: RunFolder) -> dict[str, Any]:
    if not folder.result.exists():
        return {"status": INCOMPLETE, "tasks": _tasks_learned(folder)}
    result = read_record(folder.result)
    tasks = result.get("tasks")
    measures = {name: value for name, value in result.get("measures", {}).items() if name not in COLUMNS}
    written = datetime.fromtimestamp(folder.result.stat().st_mtime, UTC)
    known = {"status": COMPLETE, "tasks": len(tasks) if isinstance(tasks, list) else None, "finished": written}
    return known | {name: float(value) for name, value in measures.items() if isinstance(value, int | float)}


def _tasks_learned(folder: RunFolder) -> int:
    if not folder.events.exists():
        return 0
    return sum('"TaskFinished"' in line for line in folder.events.read_text(errors="replace").splitlines())


def _text(value: object) -> str | None:
    return None if value is None else str(value)
