"""Where events go without a terminal: a file of one JSON object a line, or TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agscl.extras import require
from agscl.runs.files import naming

from .events import EpochFinished, Event, Resumed, Sink, TaskFinished, TaskStarted, as_record

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch.utils.tensorboard.writer import SummaryWriter


@dataclass(frozen=True)
class JsonLines:
    """Appends each event to a file at once, so that a run that dies leaves all that happened.

    Attributes:
        path: The file; created by the first event.
    """

    path: Path

    def emit(self, event: DataclassInstance) -> None:
        """Append one line.

        Raises:
            OSError: If it cannot be written.
        """
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_record(event)) + "\n")


@contextmanager
def tensorboard(folder: Path) -> Iterator[Sink]:
    """A sink that logs curves for TensorBoard for as long as the context lasts.

    Args:
        folder: Where; made by the first event.

    Raises:
        MissingExtraError: If tensorboard is not installed.
    """
    require("tensorboard", extra="tensorboard")
    sink = _Curves(folder)
    try:
        yield sink
    finally:
        sink.close()


class _Curves:
    """Losses and accuracies against the number of epochs, counting each task's most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._epochs = 0

    def emit(self, event: Event) -> None:
        """Log what an event measures."""
        match event:
            case TaskStarted() if self._writer is None:
                self._open(event.epochs, None)
            case Resumed():
                self._open(event.epochs, event.task * event.epochs + event.epoch + 1)
            case EpochFinished():
                self._epoch(event)
            case TaskFinished():
                self._task(event)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, epochs: int, purge: int | None) -> None:
        """Begin; curves of a life that was lost are dropped from ``purge`` on."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer, self._epochs = SummaryWriter(str(self._folder), purge_step=purge), epochs

    def _epoch(self, event: EpochFinished) -> None:
        values = {
            "loss/training": event.training_loss,
            "loss/validation": event.validation_loss,
            "accuracy/validation": event.validation_accuracy,
            "learning rate": event.learning_rate,
            "steps per second": event.steps / max(event.seconds, 1e-9),
        }
        self._log(values, event.task * self._epochs + event.epoch)

    def _task(self, event: TaskFinished) -> None:
        each = {f"accuracy after each task/{index + 1}": value for index, value in enumerate(event.accuracy)}
        mean = {"accuracy after each task/mean": sum(event.accuracy) / len(event.accuracy)}
        nodes = {"nodes/sparsity": event.sparsity, "nodes/used capacity": event.used_capacity}
        self._log({**each, **mean, **nodes}, event.task * self._epochs + event.epochs)

    def _log(self, values: Mapping[str, float | None], step: int) -> None:
        assert self._writer is not None
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()
