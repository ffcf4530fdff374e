"""Many runs as one table, a row a run: configuration, status, measures. Reads runs of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from .files import read_record
from .folder import RunFolder, run_folders

if TYPE_CHECKING:
    from polars import DataFrame

COLUMNS = ("run", "preset", "method", "options", "seed", "status", "tasks", "finished", "scale", "environment")
COMPUTED_WITH = ("agscl", "torch", "compute")
"""What of a run's environment may change its numbers."""
ROUNDING = 1e-6
"""What a mean may differ by."""
COMPLETE, INCOMPLETE, UNREADABLE = "complete", "incomplete", "unreadable"


def overview(paths: Iterable[Path]) -> DataFrame:
    """One row per run in the given folders.

    The columns: ``run``, ``preset``, ``method``, ``options``, ``seed``, ``status``, ``tasks`` (learned), ``finished``
    (time), one for each measure of any of them, ``scale`` (how much of the preset was run), and ``environment`` (what
    computed it). A run that did not finish has no measures; one that cannot be read is a row as well.

    Raises:
        ValueError: If a path is no folder, or holds no run.
    """
    import polars

    runs = polars.DataFrame([_row(folder) for folder in run_folders(paths)], infer_schema_length=None)
    return runs.select(polars.exclude("scale", "environment"), "scale", "environment")


def _row(folder: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row["run"] = str(folder.path).encode(errors="backslashreplace").decode()  # a path may be no text
    try:
        experiment = read_record(folder.experiment)
        method = experiment.get("method")
        options = dict(method) if isinstance(method, Mapping) else {"name": method}
        name, preset, seed = options.pop("name", None), experiment.get("preset"), experiment.get("seed")
        config = {
            "preset": None if preset is None else str(preset),
            "method": None if name is None else str(name),
            "options": _named_values(options),
            "seed": seed if isinstance(seed, int) else None,
        }
        return row | config | _outcome(folder)
    except (ValueError, OSError, AttributeError, TypeError):
        return row | {"status": UNREADABLE}


def _outcome(folder: RunFolder) -> dict[str, Any]:
    if not folder.result.exists():
        learned = 0
        if folder.events.exists():
            lines = folder.events.read_text(errors="replace").splitlines()
            learned = sum('"TaskFinished"' in line for line in lines)
        return {"status": INCOMPLETE, "tasks": learned}
    result = read_record(folder.result)
    _require_possible(result)
    tasks, scale = result.get("tasks"), result.get("scale")
    known = {
        "status": COMPLETE,
        "tasks": len(tasks) if isinstance(tasks, list) else None,
        "finished": datetime.fromtimestamp(folder.result.stat().st_mtime, UTC),
        "scale": _scale(scale) if isinstance(scale, Mapping) else None,
        "environment": _environment(result.get("environment")),
    }
    measures = {name: value for name, value in result.get("measures", {}).items() if name not in COLUMNS}
    return known | {name: float(value) for name, value in measures.items() if isinstance(value, int | float)}


def _require_possible(result: Mapping[str, Any]) -> None:
    """Refuse accuracies that are no shares, and a mean that is not theirs, with a `ValueError`."""
    rows = result.get("accuracy")
    if not isinstance(rows, list):
        return
    known = [[value for value in row if value is not None] for row in rows]
    if not all(isinstance(value, int | float) and 0 <= value <= 1 for row in known for value in row):
        raise ValueError("an accuracy is no share from 0 to 1")
    mean = result.get("measures", {}).get("average_accuracy")
    if isinstance(mean, int | float) and known and known[-1] and abs(fmean(known[-1]) - mean) > ROUNDING:
        raise ValueError("the average accuracy is not that of the tasks")


def _environment(environment: object) -> str | None:
    """What computed a run, such as ``agscl 0.2.0; torch 2.14.1; compute cpu, fp32``."""
    if not isinstance(environment, Mapping):
        return None
    return "; ".join(f"{name} {environment.get(name, 'not recorded')}" for name in COMPUTED_WITH)


def _scale(scale: Mapping[str, Any]) -> str:
    """How much of the preset was run: ``in full``, or what is less, such as ``scaled down: epochs=20 of 100``."""
    if not scale.get("scaled_down"):
        return "in full"
    parts = {name: value for name, value in scale.items() if name != "scaled_down" and not name.endswith("_in_full")}
    shown = {
        name: f"{value} of {scale[f'{name}_in_full']}" for name, value in parts.items() if f"{name}_in_full" in scale
    }
    return f"scaled down: {_named_values(parts | shown)}"


def _named_values(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )
