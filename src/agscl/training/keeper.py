"""The keeper of a run: saves where it stands, now and then and when a signal asks for its end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from agscl.runs.checkpoint import Checkpoint, CheckpointFolder
from agscl.runs.interruption import Interruption

from .progress import Lesson, Progress, Saved

SHARE = 0.01
"""Most of the time that checkpoints may take: they come less often where writing one is slow."""


@dataclass(frozen=True)
class Every:
    """How often a checkpoint is written: whatever comes first.

    Attributes:
        seconds: At most so often, and never so often that it takes 1 % of the time.
        steps: After so many steps; `None` leaves it to the seconds.
    """

    seconds: float = 60.0
    steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no interval."""
        if not self.seconds >= 0:
            raise ValueError(f"seconds between checkpoints must not be negative, got {self.seconds}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps between checkpoints must be at least 1, got {self.steps}")


class Schedule:
    """Says when a checkpoint is due."""

    def __init__(self, every: Every) -> None:
        self._every = every
        self._steps, self._next = 0, time.perf_counter() + every.seconds

    def due(self) -> bool:
        """Whether one is due after one more step."""
        self._steps += 1
        return self._steps == self._every.steps or time.perf_counter() >= self._next

    def written(self, seconds: float) -> None:
        """One was written, which took so long."""
        self._steps, self._next = 0, time.perf_counter() + max(self._every.seconds, seconds / SHARE)


@dataclass(frozen=True)
class _Record:
    """What a checkpoint says besides its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True, "ser_json_inf_nan": "constants"}

    progress: Progress
    events: int
    threads: int


class Keeper:
    """Writes checkpoints and finds them again.

    Args:
        folder: Where they are.
        events: The file of events, which a resumed run cuts back to the time of the checkpoint.
        every: How often.
        interruption: Signals that end the run.
    """

    def __init__(self, folder: CheckpointFolder, events: Path, every: Every, interruption: Interruption) -> None:
        self.folder = folder
        self.interruption = interruption
        self._events, self._schedule = events, Schedule(every)

    def after_step(self, lesson: Lesson) -> None:
        """Save the lesson if it is time, or if a signal asked for the end.

        Raises:
            Stopped: If a signal did.
            OSError: If the checkpoint cannot be written; the one before it stays.
        """
        if self._schedule.due() or self.interruption.number is not None:
            self._write(lesson)
        self.check()

    def check(self) -> None:
        """Stop where nothing can be saved, if a signal asked for the end.

        Raises:
            Stopped: If a signal did.
        """
        self.interruption.check(f"stopped; go on with --resume ({self.folder.latest() or 'from the start'})")

    def resume(self) -> Saved | None:
        """What the newest whole checkpoint holds, with the file of events as it was then; `None` without any.

        Raises:
            ValueError: If there are checkpoints and none can be used.
        """
        found = self.folder.newest()
        if found is None:
            cut(self._events, 0)
            return None
        try:
            record = TypeAdapter(_Record).validate_json(found.record)
        except ValidationError as error:
            raise ValueError(f"{self.folder.path} holds no checkpoints of this agscl: start anew") from error
        torch.set_num_threads(record.threads)  # sums are split between threads, so their last digits depend on it
        cut(self._events, record.events)
        return Saved(record.progress, found.tensors)

    def _write(self, lesson: Lesson) -> None:
        start = time.perf_counter()
        saved = lesson.save()
        record = _Record(saved.progress, size_of(self._events), torch.get_num_threads())
        self.folder.write(Checkpoint(TypeAdapter(_Record).dump_json(record).decode(), saved.tensors))
        self._schedule.written(time.perf_counter() - start)


def size_of(events: Path) -> int:
    """How long a file of events is, in bytes; 0 if there is none."""
    return events.stat().st_size if events.exists() else 0


def cut(events: Path, size: int) -> None:
    """Cut a file of events back to a length that it had: what came later is lost with the process."""
    if events.exists():
        with events.open("r+b") as file:
            file.truncate(min(size, size_of(events)))
