"""A sequence in numbers: its history, and the progress of one that is being learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .events import TaskFinished
from .plateau import Plateau


@dataclass(frozen=True)
class History:
    """All tasks of a learned sequence, in order."""

    tasks: tuple[TaskFinished, ...]

    @property
    def accuracy(self) -> Tensor:
        """Accuracy matrix, shape ``(T, T)``, float64; NaN above the diagonal: not learned yet."""
        matrix = torch.full((len(self.tasks), len(self.tasks)), torch.nan, dtype=torch.float64)
        for row, task in zip(matrix, self.tasks, strict=True):
            row[: len(task.accuracy)] = torch.tensor(task.accuracy, dtype=torch.float64)
        return matrix


@dataclass(frozen=True)
class SequenceProgress:
    """The progress of a sequence between two steps.

    Attributes:
        finished: Tasks learned so far.
        epoch: Finished epochs of the current task.
        batches: Batches trained in its current epoch.
        loss: Sum of their losses over examples.
        plateau: State of the learning rate.
        seconds: Spent on the current task so far.
        epoch_seconds: Of those, on its current epoch.
        scaler: State of the gradient scaler, for float16.
        rollback: Where to go back to if training diverges, if the settings say so.
    """

    finished: tuple[TaskFinished, ...]
    epoch: int
    batches: int
    loss: float
    plateau: Plateau
    seconds: float
    epoch_seconds: float
    scaler: dict[str, float]
    rollback: SequenceProgress | None = None

    def __post_init__(self) -> None:
        if min(self.epoch, self.batches, self.seconds, self.epoch_seconds) < 0:
            raise ValueError(f"a checkpoint of epoch {self.epoch}, batch {self.batches} is damaged")
