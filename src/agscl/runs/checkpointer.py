"""The checkpointer of a run: saves its state now and then, and when a signal asks for its end; finds it again."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from .checkpoint import AGAIN, Checkpoint, CheckpointFolder
from .folder import RunFolder
from .interruption import Interruption

SHARE = 0.01
"""Most of the time that checkpoints may take: they come less often where writing one is slow."""

MOST_THREADS = 4096
"""No machine has more."""

P = TypeVar("P")


@dataclass(frozen=True)
class Every:
    """How often a checkpoint is written: whatever comes first.

    Attributes:
        seconds: Least time between two checkpoints; more where writing one takes over 1 % of it.
        steps: Steps, or updates of a policy, between two checkpoints; `None` leaves it to the seconds.
    """

    seconds: float = 60.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise ValueError(f"seconds between checkpoints must not be negative, got {self.seconds}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps between checkpoints must be at least 1, got {self.steps}")


EVERY = Every()


THEN = ", then "
"""Between what was so in one part of a run and what was so in the next."""


@dataclass(frozen=True)
class Conditions:
    """What a run is computed with and from: it does not change unnoticed where the run is resumed.

    Attributes:
        environment: Versions and machine, by name; what changes is named and kept in the record.
        drawn: The data and what the seed drew of it, as text; a change is refused.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    drawn: str = ""

    @property
    def digest(self) -> str:
        """Sixteen digits that stand for what was drawn."""
        return hashlib.sha256(self.drawn.encode()).hexdigest()[:16] if self.drawn else ""


@dataclass(frozen=True)
class RunState(Generic[P]):
    """The state of a run between two steps: all that it takes to go on.

    Attributes:
        progress: Numbers.
        tensors: Weights, and the states of guard, optimizer and random generators, by name.
    """

    progress: P
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Record(Generic[P]):
    """What a checkpoint says besides its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True, "ser_json_inf_nan": "constants"}

    progress: P
    events: int
    threads: int
    environment: dict[str, str] = field(default_factory=dict)
    drawn: str = ""


class Checkpointer(Generic[P]):
    """Writes checkpoints of a run and finds them again.

    Args:
        kind: Dataclass of the numbers in a checkpoint.
        folder: Of the run.
        every: How often.
        conditions: What this process computes with and from.

    Attributes:
        checkpoints: Where they are.
        interruption: Signals that end the run.
        environment: Of the run: what differed between its parts is there in their order, with `THEN` between.
    """

    def __init__(
        self, kind: type[P], folder: RunFolder, every: Every = EVERY, conditions: Conditions | None = None
    ) -> None:
        self._conditions = conditions or Conditions()
        self.environment: Mapping[str, str] = self._conditions.environment
        self.checkpoints = CheckpointFolder(folder.checkpoints)
        self.interruption = Interruption()
        self._events, self._every = folder.events, every
        self._steps, self._next = 0, time.perf_counter() + every.seconds
        self._record: TypeAdapter[_Record[P]] = TypeAdapter(_Record[kind])  # type: ignore[valid-type] # known at run time

    def after_step(self, save: Callable[[], RunState[P]]) -> None:
        """Write a checkpoint if one is due after one more step, or if a signal asked for the end.

        Raises:
            Stopped: If a signal did.
            OSError: If the checkpoint cannot be written; the one before it stays.
        """
        self._steps += 1
        due = self._steps == self._every.steps or time.perf_counter() >= self._next
        if due or self.interruption.number is not None:
            self.write(save)

    def write(self, save: Callable[[], RunState[P]]) -> None:
        """Write a checkpoint; raises as `after_step` does."""
        start = time.perf_counter()
        state = save()
        record = _Record(
            state.progress,
            self._events_size(),
            torch.get_num_threads(),
            {**self.environment},
            self._conditions.digest,
        )
        self.checkpoints.write(Checkpoint(self._record.dump_json(record).decode(), state.tensors))
        now = time.perf_counter()
        self._steps, self._next = 0, now + max(self._every.seconds, (now - start) / SHARE)
        self.check()

    def check(self) -> None:
        """Stop where nothing can be saved, if a signal asked for the end.

        Raises:
            Stopped: If a signal did.
        """
        self.interruption.check(f"stopped; go on with --resume ({self.checkpoints.latest() or 'from the start'})")

    def resume(self) -> RunState[P] | None:
        """What the newest whole checkpoint holds; `None` without any.

        The file of events is cut back to what it was then: what came later is lost with the process. It goes on with
        as many threads as before, and so to the last bit; what else differs, another torch say, is told as a warning.

        Raises:
            ValueError: If there are checkpoints and none can be used, or the data changed.
        """
        checkpoint = self.checkpoints.newest()
        if checkpoint is None:
            self._cut_events(0)
            return None
        try:
            record = self._record.validate_json(checkpoint.record)
        except ValidationError as error:
            raise ValueError(f"{self.checkpoints.path} holds no checkpoints of this kind of run: {AGAIN}") from error
        if not 1 <= record.threads <= MOST_THREADS or record.events < 0:
            what = f"{record.threads} threads and {record.events} bytes of events"
            raise ValueError(f"{self.checkpoints.path} holds a damaged checkpoint, of {what}: {AGAIN}")
        if record.drawn != self._conditions.digest and record.drawn:
            raise ValueError(
                f"the data of the run in {self.checkpoints.path.parent} changed since it began: bring it back as it "
                "was, or begin in a new folder"
            )
        torch.set_num_threads(record.threads)  # sums are split between threads, so their last digits depend on it
        self.environment = self._continued(record.environment)
        self._cut_events(record.events)
        return RunState(record.progress, checkpoint.tensors)

    def _continued(self, before: Mapping[str, str]) -> dict[str, str]:
        """The environment of a run that went on in this process; a difference is told."""
        now = {**self._conditions.environment, "threads": str(torch.get_num_threads())}
        known = {name: value for name, value in before.items() if name in now}
        changed = {name: old for name, old in known.items() if old.split(THEN)[-1] != now[name]}
        if changed:
            shown = "; ".join(f"{name} {old.split(THEN)[-1]}, now {now[name]}" for name, old in changed.items())
            warnings.warn(
                f"{self.checkpoints.path.parent} goes on in another environment ({shown}): its last digits may differ "
                "from those of an undisturbed run, and its record says so",
                stacklevel=3,
            )
        return {**now, **known, **{name: f"{old}{THEN}{now[name]}" for name, old in changed.items()}}

    def _events_size(self) -> int:
        return self._events.stat().st_size if self._events.exists() else 0

    def _cut_events(self, size: int) -> None:
        if self._events.exists():
            with self._events.open("r+b") as file:
                file.truncate(min(size, self._events_size()))
