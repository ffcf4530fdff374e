"""How far runs of any kind are: a live display in a terminal, lines elsewhere; always on stderr.

Away from a terminal each line is ``name=value`` pairs, separated by single spaces.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn, TimeRemainingColumn

from agscl.benchmarks.raw import Report
from agscl.experiments.kind import AnyExperiment, AnyResult
from agscl.experiments.many import Failure, run_many
from agscl.rl.history import Evaluation, PolicyTaskFinished, PolicyTaskStarted, Updated
from agscl.runs import RunFolder
from agscl.runs.events import Logger
from agscl.training import EpochFinished, RateLowered, Resumed, TaskFinished, TaskStarted

from .console import Output, bars
from .text import printable


@contextmanager
def progress(output: Output, method: str) -> Iterator[Logger[object]]:
    """A logger that shows the events of a method's run on standard error, within the context."""
    if not output.is_terminal:
        yield PlainProgress(output, method)
        return
    columns = ("{task.fields[unit]}  {task.fields[state]}", TimeElapsedColumn(), "left", TimeRemainingColumn())
    with bars(output, "{task.description}", BarColumn(), MofNCompleteColumn(), *columns) as display:
        yield LiveProgress(output, display, method)


@dataclass
class LiveProgress:
    """A bar in the display for each task, which moves with its epochs or updates; other lines stay in the output."""

    output: Output
    display: Progress
    method: str
    _bars: list[TaskID] = field(default_factory=list)

    def emit(self, event: object) -> None:
        """Show one event."""
        match event:
            case TaskStarted() | Resumed():
                self._begin(event, "epochs", event.epochs, event.epoch if isinstance(event, Resumed) else 0)
            case PolicyTaskStarted():
                self._begin(event, "updates", event.updates)
            case RateLowered():
                rate = f"{event.learning_rate:.0e}"
                self.output.say(f"epoch {event.epoch} begins again with learning rate {rate}: {event.reason}")
            case EpochFinished():
                accuracy, rate = f"{event.validation_accuracy:.1%}", f"{event.learning_rate:.0e}"
                speed = f"{event.steps / max(event.seconds, 1e-9):.3g} steps/s"
                state = f"validation {accuracy}  learning rate {rate}  {speed}"
                self.display.update(self._bars[-1], completed=event.epoch, state=state)
            case Updated():
                self.display.update(self._bars[-1], completed=event.update)
            case TaskFinished():
                mean = sum(event.accuracy) / len(event.accuracy)
                state = f"test {event.accuracy[-1]:.1%}  mean so far {mean:.1%}"
                self.display.update(self._bars[-1], completed=event.epochs, total=event.epochs, state=state)
            case Evaluation() if event.task == event.training and self._bars:
                self.display.update(self._bars[-1], state=f"score {event.score:,.1f}")

    def _begin(self, event: TaskStarted | Resumed | PolicyTaskStarted, unit: str, total: int, done: int = 0) -> None:
        title = printable(f"{self.method}  task {event.task + 1}/{event.tasks}  {event.name}")
        self._bars.append(self.display.add_task(title, total=total, completed=done, unit=unit, state=""))


@dataclass(frozen=True)
class PlainProgress:
    """One line of ``name=value`` pairs for each finished task and each evaluation of a policy."""

    output: Output
    method: str

    def emit(self, event: object) -> None:
        """Write a line for what is worth one."""
        match event:
            case TaskFinished():
                accuracy = ",".join(f"{value:.4f}" for value in event.accuracy)
                line = f"task={event.task + 1} epochs={event.epochs} accuracy={accuracy} seconds={event.seconds:.1f}"
            case Evaluation():
                line = f"steps={event.time} training={event.training + 1} task={event.task + 1} name={event.name}"
                line += f" score={event.score:.2f} episodes={event.episodes} capped={event.capped}"
            case PolicyTaskFinished():
                rate = event.steps / event.training_seconds
                line = f"learned={event.task + 1} seconds={event.seconds:.1f} steps_per_second={rate:.0f}"
            case _:
                return
        self.output.say(f"method={self.method} {line}")


def run_all(
    experiments: Sequence[AnyExperiment],
    folder_of: Callable[[AnyExperiment], RunFolder],
    arguments: argparse.Namespace,
    *,
    resume: bool,
) -> tuple[list[AnyResult], list[Failure]]:
    """Run experiments in parallel and say on stderr which are done; returns results, in order, and failures.

    Args:
        experiments: What to run.
        folder_of: The folder of each run.
        arguments: Of the command: how many at once, and where the data is.
        resume: Whether runs in those folders go on.
    """
    processes = arguments.processes if arguments.processes is not None else (os.cpu_count() or 1)
    outcomes: dict[AnyExperiment, AnyResult | Failure] = {}
    output = Output(stderr=True)

    def retrying(experiment: AnyExperiment, reason: str) -> None:
        output.say(f"{experiment.method_name} seed={experiment.seed}: {reason}")

    done = run_many(
        experiments, folder_of, processes=processes, data_root=arguments.data_root, resume=resume, retrying=retrying
    )
    for number, outcome in enumerate(done, 1):
        outcomes[outcome.experiment] = outcome
        state = f"failed: {outcome.reason}" if isinstance(outcome, Failure) else "finished"
        name, seed = outcome.experiment.method_name, outcome.experiment.seed
        output.say(f"[{number}/{len(experiments)}] {name} seed={seed} {state}")
    ordered = [outcomes[experiment] for experiment in experiments]
    results = [outcome for outcome in ordered if not isinstance(outcome, Failure)]
    return results, [outcome for outcome in ordered if isinstance(outcome, Failure)]


@contextmanager
def reading() -> Iterator[Report]:
    """A function that shows how much of some data is read as a bar on stderr, within the context."""
    tasks: dict[str, TaskID] = {}
    with bars(Output(stderr=True), "{task.description}", BarColumn(), TimeRemainingColumn(), transient=True) as display:

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = display.add_task(printable(step), total=total)
            display.update(tasks[step], completed=done, total=total)

        yield report
