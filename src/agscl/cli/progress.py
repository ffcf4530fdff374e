"""How far a run is: a live display in a terminal, one line a task elsewhere; always on stderr.

Away from a terminal each line is ``name=value`` pairs, separated by single spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from agscl.runs.events import Logger
from agscl.training import EpochFinished, Event, RateLowered, Resumed, TaskFinished, TaskStarted


@contextmanager
def progress(console: Console, method: str) -> Iterator[Logger[Event]]:
    """A logger that shows a run's events for as long as the context lasts."""
    if not console.is_terminal:
        yield PlainProgress(console, method)
        return
    with bars(console, "epochs") as display:
        yield LiveProgress(display, method)


def bars(console: Console, unit: str) -> Progress:
    """A display of one bar a task: how many units are done, the state in words, time spent and left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + "  {task.fields[state]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


@dataclass
class LiveProgress:
    """A bar for each task that moves with its epochs.

    Attributes:
        display: Where the bars are.
        method: Name of the method, for their titles.
    """

    display: Progress
    method: str
    _bars: list[TaskID] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Show one event."""
        match event:
            case TaskStarted():
                self._begin(event, 0)
            case Resumed():
                self._begin(event, event.epoch)
            case RateLowered():
                rate = f"{event.learning_rate:.0e}"
                line = f"epoch {event.epoch} begins again with learning rate {rate}: {event.reason}"
                self.display.console.print(line, highlight=False, markup=False)
            case EpochFinished():
                accuracy, rate = f"{event.validation_accuracy:.1%}", f"{event.learning_rate:.0e}"
                speed = f"{event.steps / max(event.seconds, 1e-9):.3g} steps/s"
                state = f"validation {accuracy}  learning rate {rate}  {speed}"
                self.display.update(self._bars[-1], completed=event.epoch, state=state)
            case TaskFinished():
                state = f"test {event.accuracy[-1]:.1%}  mean so far {_mean(event.accuracy):.1%}"
                self.display.update(self._bars[-1], completed=event.epochs, total=event.epochs, state=state)

    def _begin(self, event: TaskStarted | Resumed, epoch: int) -> None:
        title = f"{self.method}  task {event.task + 1}/{event.tasks}  {event.name}"
        self._bars.append(self.display.add_task(title, total=event.epochs, completed=epoch, state=""))


@dataclass(frozen=True)
class PlainProgress:
    """One line of ``name=value`` pairs for each finished task.

    Attributes:
        console: Where lines go.
        method: Name of the method, on each line.
    """

    console: Console
    method: str

    def emit(self, event: Event) -> None:
        """Write a line when a task is finished."""
        if isinstance(event, TaskFinished):
            accuracy = ",".join(f"{value:.4f}" for value in event.accuracy)
            line = f"method={self.method} task={event.task + 1} epochs={event.epochs} accuracy={accuracy}"
            self.console.out(f"{line} seconds={event.seconds:.1f}", highlight=False)


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
