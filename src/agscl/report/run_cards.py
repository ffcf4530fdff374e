"""Every run with all that it takes to repeat it: command, settings, seed, versions, machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agscl.experiments.command import command
from agscl.experiments.records import IncompleteRun, PolicyRun, Record, StoredRun, SupervisedRun, UnknownRun
from agscl.experiments.words import NOTHING, number, typeset

from .blocks import Table

MOST = 300
"""Rows of a record that are shown; the file has the others."""


@dataclass(frozen=True)
class Card:
    """One run.

    Attributes:
        title: Which run it is.
        status: "complete", or what is to be said of it.
        complete: Whether its numbers count.
        command: What repeats it, if one command does.
        facts: Names and values: folder, versions, machine.
        tables: Its settings and its record.
    """

    title: str
    status: str
    complete: bool
    command: str | None
    facts: Sequence[tuple[str, str]]
    tables: Sequence[Table]


def card(run: StoredRun, *, repeats: bool) -> Card:
    """The card of a run, which may repeat another one."""
    status = "repeats another run of these: not counted twice" if repeats else "complete"
    complete = not repeats
    environment: Mapping[str, str] = {}
    repeated_by, tables = None, [Table("Configuration", ["setting", "value"], flattened(run.config))]
    match run:
        case SupervisedRun(result=result):
            environment, repeated_by = result.environment, command(result.experiment)
            tables.append(Table("Drawn by the seed", ["name", "value"], flattened(result.record)))
        case PolicyRun(result=policies):
            environment, repeated_by = policies.environment, command(policies.experiment)
            names, history = policies.names, policies.history
            scores: list[Sequence[float | None]] = [history.random_scores, *policies.scores()]
            rows = zip(["(random actions)", *names], scores, strict=True)
            cells = [[name, *(typeset(number(score)) for score in row)] for name, row in rows]
            what = "Mean score of an episode on each task after learning each task"
            tables.append(Table(what, ["after", *names], cells))
            resumed = [f"in task {at.task + 1} after {at.updates} updates" for at in history.resumed]
            again = f". Resumed {', '.join(resumed)}: its environments began new episodes there"
            status += again if resumed else ""
        case IncompleteRun():
            far = f"{run.learned} of {run.tasks} tasks learned" if run.tasks is not None else "no task begun"
            status, complete = f"incomplete ({far}): not averaged in", False
        case UnknownRun():
            status = "a kind of run that this page has no charts for: its record as it is"
            tables.append(Table("Result", ["name", "value"], flattened(run.record)))
    facts = [("folder", str(run.folder.path)), *environment.items()]
    return Card(_title(run.config), status, complete, repeated_by, facts, tables)


def _title(config: Record) -> str:
    method = config.get("method")
    name = method.get("name") if isinstance(method, dict) else method
    words = [str(config.get("preset", "a run")), *([str(name)] if name is not None else [])]
    return ", ".join([*words, *([f"seed {config['seed']}"] if "seed" in config else [])])


def flattened(record: Mapping[str, Any]) -> list[list[str]]:
    """A nested record as rows of a path and a value, the first `MOST` of them."""
    rows = [[path, text] for path, text in _leaves("", record)]
    left_out = len(rows) - MOST
    return rows if left_out <= 0 else [*rows[:MOST], ["…", f"{left_out} more in the file"]]


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}".lstrip("."), inner)
    elif isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(f"{path}[{number}]", item)
    else:
        yield path, _text(value)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or NOTHING
    return NOTHING if value is None or value == {} else str(value)
