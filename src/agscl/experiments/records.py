"""Run folders read back: finished sequences of tasks, runs that did not finish, and runs of kinds not known here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from agscl.runs import RunFolder, run_folders
from agscl.runs.files import read_record
from agscl.training import TaskFinished

from .supervised.result import Result, check_format

if TYPE_CHECKING:
    from polars import DataFrame

Record = Mapping[str, Any]
"""A JSON object."""


@dataclass(frozen=True)
class SequenceRun:
    """A finished run of a sequence of tasks.

    Attributes:
        folder: Where it is.
        asked: What was asked, as the folder has it.
        result: What came out.
        nodes: The table of nodes (`agscl.runs.tables`), if the method rates nodes.
    """

    folder: RunFolder
    asked: Record
    result: Result
    nodes: DataFrame | None

    @property
    def environment(self) -> Record:
        """Versions and machine."""
        return self.result.environment


@dataclass(frozen=True)
class IncompleteRun:
    """A run without a result: still running, or broken off.

    Attributes:
        folder: Where it is.
        asked: What was asked.
        learned: How many tasks its events say are learned.
        tasks: Of how many; `None` if not even the first has begun.
    """

    folder: RunFolder
    asked: Record
    learned: int
    tasks: int | None


@dataclass(frozen=True)
class OtherRun:
    """A finished run that is no sequence of classification tasks.

    Attributes:
        folder: Where it is.
        asked: What was asked.
        record: What came out.
    """

    folder: RunFolder
    asked: Record
    record: Record


StoredRun = SequenceRun | IncompleteRun | OtherRun


def read_runs(paths: Iterable[Path]) -> list[StoredRun]:
    """The runs in the given folders, each of which is a run or holds runs; a run given twice is read once.

    Raises:
        ValueError: If a folder holds no run, or a run cannot be read.
        OSError: If a file cannot be read.
    """
    return [read_run(folder) for folder in run_folders(paths)]


def read_run(folder: RunFolder) -> StoredRun:
    """One run.

    Raises:
        ValueError: If a file of it is damaged, or written in another version of the format.
        OSError: If a file cannot be read.
    """
    asked = read_record(folder.experiment)
    if not folder.result.exists():
        return _incomplete(folder, asked)
    record = read_record(folder.result)
    check_format(folder, record)
    if "accuracy" not in record:
        return OtherRun(folder, asked, record)
    try:
        return _sequence_run(folder, asked)
    except ValueError as error:
        raise ValueError(f"{folder.path}: {error}; the run may come from another version of agscl") from error


def _sequence_run(folder: RunFolder, asked: Record) -> SequenceRun:
    from agscl.runs.tables import read_nodes

    result = Result.read(folder)
    if not result.history.tasks or any(len(t.accuracy) != n for n, t in enumerate(result.history.tasks, 1)):
        raise ValueError("result.json: each task has one accuracy for every task up to it, and there is at least one")
    return SequenceRun(folder, asked, result, read_nodes(folder.nodes) if folder.nodes.exists() else None)


def _incomplete(folder: RunFolder, asked: Record) -> IncompleteRun:
    events = list(_events(folder.events)) if folder.events.exists() else []
    learned = sum(event.get("event") == TaskFinished.__name__ for event in events)
    tasks = next((event["tasks"] for event in events if isinstance(event.get("tasks"), int)), None)
    return IncompleteRun(folder, asked, learned, tasks)


def _events(path: Path) -> Iterator[Record]:
    """All lines that are whole; the last line of a run that died may not be."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = from_json(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
