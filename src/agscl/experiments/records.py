"""Run folders read back, each file once: supervised runs, policies, incomplete runs, and runs of an unknown kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from agscl.runs import RunFolder, run_folders
from agscl.runs.files import parse_record, read_record
from agscl.runs.tables import read_nodes

from .policies.result import KIND, PolicyResult
from .result_file import check_format
from .supervised.result import Result

if TYPE_CHECKING:
    from polars import DataFrame

Record = Mapping[str, Any]
"""A JSON object."""


@dataclass(frozen=True)
class SupervisedRun:
    """A finished run of a sequence of data sets.

    Attributes:
        folder: Where it is.
        config: Its configuration as ``experiment.json`` has it.
        result: Its result.
        nodes: The table of nodes (`agscl.runs.tables`), if the method rates nodes.
    """

    folder: RunFolder
    config: Record
    result: Result
    nodes: DataFrame | None


@dataclass(frozen=True)
class PolicyRun:
    """A finished run of reinforcement learning.

    Attributes:
        folder: Where it is.
        config: Its configuration as ``experiment.json`` has it.
        result: Its result.
    """

    folder: RunFolder
    config: Record
    result: PolicyResult


@dataclass(frozen=True)
class IncompleteRun:
    """A run without a result: still running, or broken off.

    Attributes:
        folder: Where it is.
        config: Its configuration.
        learned: How many tasks its events say are learned.
        tasks: Of how many; `None` if not even the first has begun.
    """

    folder: RunFolder
    config: Record
    learned: int
    tasks: int | None


@dataclass(frozen=True)
class UnknownRun:
    """A finished run of a kind that this version does not know.

    Attributes:
        folder: Where it is.
        config: Its configuration.
        record: Its result.
    """

    folder: RunFolder
    config: Record
    record: Record


StoredRun = SupervisedRun | PolicyRun | IncompleteRun | UnknownRun


def read_runs(paths: Iterable[Path]) -> list[StoredRun]:
    """The runs in the given folders, each of which is a run or holds runs; a run given twice is read once.

    Raises:
        ValueError: If a folder holds no run, or a run cannot be read.
        OSError: If a file cannot be read.
    """
    return [read_run(folder) for folder in run_folders(paths)]


def read_run(folder: RunFolder) -> StoredRun:
    """One run, whole: nobody has to read its files again.

    Raises:
        ValueError: If a file of it is damaged, or written in another version of the format.
        OSError: If a file cannot be read.
    """
    if not folder.result.exists():
        events = list(events_in(folder.events)) if folder.events.exists() else []
        learned = sum(event.get("event") == "TaskFinished" for event in events)
        tasks = next((event["tasks"] for event in events if isinstance(event.get("tasks"), int)), None)
        return IncompleteRun(folder, read_record(folder.experiment), learned, tasks)
    configuration, content = folder.experiment.read_bytes(), folder.result.read_bytes()
    config, record = parse_record(configuration, folder.experiment), parse_record(content, folder.result)
    check_format(record, folder.result)
    try:
        if "accuracy" in record:
            nodes = read_nodes(folder.nodes) if folder.nodes.exists() else None
            return SupervisedRun(folder, config, Result.parse(configuration, content, folder), nodes)
        if record.get("kind") == KIND:
            return PolicyRun(folder, config, PolicyResult.parse(configuration, content, folder))
    except ValueError as error:
        raise ValueError(f"{folder.path}: {error}; the run may come from another version of agscl") from error
    return UnknownRun(folder, config, record)


def read_supervised(folder: RunFolder) -> SupervisedRun:
    """One finished supervised run, for work that needs its data and weights.

    Raises:
        ValueError: If the folder holds none, or it cannot be read.
        OSError: If a file cannot be read.
    """
    folder.require_complete()
    run = read_run(folder)
    if not isinstance(run, SupervisedRun):
        raise ValueError(f"{folder.path} holds no run of data sets, but one of another kind")
    return run


def events_in(path: Path) -> Iterator[Record]:
    """The events in a run's file, all that are whole; the last line of a run that is at work or died may not be."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = from_json(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
