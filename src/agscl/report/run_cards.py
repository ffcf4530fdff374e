"""Every run with all that it takes to repeat it: command, settings, seed, versions, machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agscl.experiments.command import command
from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.records import IncompleteRun, PolicyRun, Record, StoredRun, SupervisedRun, UnknownRun

from .blocks import NOTHING, Table

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


def cards(runs: Iterable[StoredRun], repeats: Collection[Path]) -> list[Card]:
    """A card for each run.

    Args:
        runs: All of them.
        repeats: Folders of those that repeat another.
    """
    return [_card(run, status=_REPEATED if run.folder.path in repeats else "complete") for run in runs]


_REPEATED = "repeats another run of these: not counted twice"


def _card(run: StoredRun, *, status: str) -> Card:
    match run:
        case SupervisedRun():
            return _sequence(run, status)
        case PolicyRun():
            return _policy(run, status)
        case IncompleteRun():
            return _incomplete(run)
        case UnknownRun():
            return _other(run)


def _sequence(run: SupervisedRun, status: str) -> Card:
    experiment = run.result.experiment
    return Card(
        title=f"{experiment.preset}, {run.result.method}, seed {experiment.seed}",
        status=status,
        complete=status != _REPEATED,
        command=command(experiment),
        facts=[("folder", str(run.folder.path)), *run.result.environment.items()],
        tables=[
            Table("Configuration", ["setting", "value"], flattened(run.config)),
            Table("Drawn by the seed", ["name", "value"], flattened(run.result.record)),
        ],
    )


def _policy(run: PolicyRun, status: str) -> Card:
    experiment, progress = run.result.experiment, run.result.history
    places = [f"in task {place.task + 1} after {place.updates} updates" for place in progress.resumed]
    again = [f"Taken up again {', '.join(places)}: its environments began new episodes there"] if places else []
    return Card(
        title=f"{experiment.preset}, {run.result.method}, seed {experiment.seed}",
        status=". ".join([status, *again]),
        complete=status != _REPEATED,
        command=command(experiment),
        facts=[("folder", str(run.folder.path)), *run.result.environment.items()],
        tables=[
            Table("Configuration", ["setting", "value"], flattened(run.config)),
            _scores(run.result),
        ],
    )


def _scores(result: PolicyResult) -> Table:
    rows = [["(random actions)", *map(_score, result.history.random_scores)]]
    rows += [[name, *map(_score, row)] for name, row in zip(result.names, result.scores(), strict=True)]
    return Table("Mean score of an episode on each task after learning each task", ["after", *result.names], rows)


def _score(score: float | None) -> str:
    return NOTHING if score is None else f"{score:,.1f}".replace("-", "\N{MINUS SIGN}")


def _incomplete(run: IncompleteRun) -> Card:
    far = f"{run.learned} of {run.tasks} tasks learned" if run.tasks is not None else "no task begun"
    return Card(
        title=_title(run.config),
        status=f"incomplete ({far}): not averaged in",
        complete=False,
        command=None,
        facts=[("folder", str(run.folder.path))],
        tables=[Table("Configuration", ["setting", "value"], flattened(run.config))],
    )


def _other(run: UnknownRun) -> Card:
    return Card(
        title=_title(run.config),
        status="a kind of run that this page has no charts for: its record as it is",
        complete=True,
        command=None,
        facts=[("folder", str(run.folder.path))],
        tables=[
            Table("Configuration", ["setting", "value"], flattened(run.config)),
            Table("Result", ["name", "value"], flattened(run.record)),
        ],
    )


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
