"""Curves of a sequence against the number of epochs, counting each task's most: what trackers of experiments show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from .events import EpochFinished, Event, Resumed, TaskFinished, TaskStarted


class Curves(ABC):
    """A logger of losses and accuracies; a tracker says where they go."""

    def __init__(self) -> None:
        self._epochs = 0

    @abstractmethod
    def begin(self, purge: int | None) -> None:
        """Begin, with the first event; points from ``purge`` on are of a life that was lost."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take a point of each curve."""

    def emit(self, event: Event) -> None:
        """Log what an event measures."""
        match event:
            case TaskStarted() if not self._epochs:
                self._epochs = event.epochs
                self.begin(None)
            case Resumed():
                self._epochs = event.epochs
                self.begin(event.task * event.epochs + event.epoch + 1)
            case EpochFinished():
                values = {
                    "loss/training": event.training_loss,
                    "loss/validation": event.validation_loss,
                    "accuracy/validation": event.validation_accuracy,
                    "learning rate": event.learning_rate,
                    "steps per second": event.steps / max(event.seconds, 1e-9),
                }
                self.log(values, event.task * self._epochs + event.epoch)
            case TaskFinished():
                each = {f"accuracy after each task/{index + 1}": value for index, value in enumerate(event.accuracy)}
                mean = {"accuracy after each task/mean": sum(event.accuracy) / len(event.accuracy)}
                nodes = {"nodes/sparsity": event.sparsity, "nodes/used capacity": event.used_capacity}
                known = {name: value for name, value in nodes.items() if value is not None}
                self.log({**each, **mean, **known}, event.task * self._epochs + event.epochs)
