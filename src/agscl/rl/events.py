"""What happens while a sequence is learned, for whoever wants to watch or record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from .history import Evaluation, PolicyResumed, PolicyTaskFinished


@dataclass(frozen=True)
class PolicyTaskStarted:
    """Training of a task begins, or goes on after a `PolicyResumed`.

    Attributes:
        task: Position in the sequence, from 0.
        name: Name of the task.
        tasks: Number of tasks in the sequence.
        updates: Updates it takes.
    """

    task: int
    name: str
    tasks: int
    updates: int


@dataclass(frozen=True)
class Updated:
    """A rollout was collected and learned from.

    Attributes:
        task: Position in the sequence, from 0.
        update: From 1.
        time: Agent steps so far, over all tasks.
    """

    task: int
    update: int
    time: int


Event = PolicyTaskStarted | Updated | Evaluation | PolicyTaskFinished | PolicyResumed


class Sink(Protocol):
    """Somewhere that events go."""

    def emit(self, event: Event) -> None:
        """Take one event."""


def emit(sinks: Iterable[Sink], event: Event) -> None:
    """Give an event to every sink."""
    for sink in sinks:
        sink.emit(event)
