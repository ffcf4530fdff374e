"""A logger of curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agscl.extras import require
from agscl.runs.events import Logger

from .events import EpochFinished, Event, Resumed, TaskFinished, TaskStarted

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


@contextmanager
def tensorboard(folder: Path) -> Iterator[Logger[Event]]:
    """Log curves for TensorBoard within the context.

    Args:
        folder: Where; made by the first event.

    Raises:
        MissingExtraError: If tensorboard is not installed.
    """
    require("tensorboard", extra="tensorboard")
    with closing(_Curves(folder)) as curves:
        yield curves


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
                values = {
                    "loss/training": event.training_loss,
                    "loss/validation": event.validation_loss,
                    "accuracy/validation": event.validation_accuracy,
                    "learning rate": event.learning_rate,
                    "steps per second": event.steps / max(event.seconds, 1e-9),
                }
                self._log(values, event.task * self._epochs + event.epoch)
            case TaskFinished():
                each = {f"accuracy after each task/{index + 1}": value for index, value in enumerate(event.accuracy)}
                mean = {"accuracy after each task/mean": sum(event.accuracy) / len(event.accuracy)}
                nodes = {"nodes/sparsity": event.sparsity, "nodes/used capacity": event.used_capacity}
                self._log({**each, **mean, **nodes}, event.task * self._epochs + event.epochs)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, epochs: int, purge: int | None) -> None:
        """Begin; curves of a life that was lost are dropped from ``purge`` on."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer, self._epochs = SummaryWriter(str(self._folder), purge_step=purge), epochs

    def _log(self, values: Mapping[str, float | None], step: int) -> None:
        assert self._writer is not None
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()
