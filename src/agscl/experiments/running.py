"""What runs of every kind have in common: begin or go on, save, stop at a signal, write the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from torch import nn

from agscl.guard import Guard
from agscl.runs import RunFolder
from agscl.runs.checkpoint import CheckpointFolder
from agscl.runs.checkpointer import Checkpointer, Every
from agscl.runs.events import JsonLines, Logger
from agscl.runs.files import write_bytes
from agscl.runs.tables import write_table

from .kind import AnyExperiment, AnyResult
from .states import TaskStates, write_state

P = TypeVar("P")
R = TypeVar("R", bound=AnyResult)


@dataclass(frozen=True)
class Ready(Generic[P, R]):
    """A run that is loaded and can begin.

    Attributes:
        experiment: Its configuration.
        model: What learns; changed in place.
        guard: Protects the model.
        progress: Dataclass of the numbers in its checkpoints.
        learn: Learns all tasks, from the newest checkpoint if there is one; gives the result.
    """

    experiment: AnyExperiment
    model: nn.Module
    guard: Guard
    progress: type[P]
    learn: Callable[[Sequence[Logger[Any]], Checkpointer[P]], R]


def earlier_result(
    experiment: AnyExperiment, folder: RunFolder, read: Callable[[RunFolder], R], *, resume: bool
) -> R | None:
    """The result that a finished run in the folder wrote; `None` if there is a run to begin or to go on with.

    What a run that was killed at its very end left behind is removed.

    Args:
        experiment: What is to be run.
        folder: Where.
        read: Reads the result of a finished run.
        resume: Whether the folder may hold a run.

    Raises:
        ValueError: If the folder holds something else.
        OSError: If it cannot be read or written.
    """
    if not resume:
        folder.require_free()
    if not folder.experiment.exists():
        return None
    kind = type(experiment)
    begun = kind.from_json(folder.experiment.read_bytes())
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type] # every kind of experiment is a dataclass
    if other := [name for name in names if getattr(begun, name) != getattr(experiment, name)]:
        raise ValueError(
            f"{folder.path} holds a run with another {' and '.join(other)}: give the options that it was begun with, "
            "or choose a new folder with --out"
        )
    if not folder.result.exists():
        return None
    with folder.claimed(experiment.to_json(), resume=True):
        CheckpointFolder(folder.checkpoints).clear()
    return read(folder)


def run_ready(
    ready: Ready[P, R], folder: RunFolder, loggers: Sequence[Logger[Any]], *, resume: bool, every: Every
) -> R:
    """Run in a folder: events, a state after each task and checkpoints while it learns, then state, table and result.

    Args:
        ready: The run.
        folder: Where it is written.
        loggers: Where events go, besides the folder.
        resume: Whether the folder may hold a part of the run.
        every: How often a checkpoint is written.

    Raises:
        ValueError: If the folder holds something else, or a task cannot be learned.
        Stopped: If a signal asked for the end; the run is saved then.
        OSError: If the folder cannot be written.
    """
    with folder.claimed(ready.experiment.to_json(), resume=resume):
        checkpointer = Checkpointer(ready.progress, folder, every)
        own = (TaskStates(folder, ready.model, ready.guard), JsonLines(folder.events))
        with checkpointer.interruption.watching():
            result = ready.learn((*own, *loggers), checkpointer)
        write_state(folder.state, ready.model, ready.guard)
        write_table(folder.evaluations, result.table())
        write_bytes(folder.result, result.to_json())
        checkpointer.checkpoints.clear()
        return result
