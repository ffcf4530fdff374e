"""A sequence in numbers: its history, and the progress of one that is being learned."""

from __future__ import annotations

from collections.abc import Sequence
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
        return _matrix([task.accuracy for task in self.tasks])

    @property
    def validation(self) -> Tensor | None:
        """The same on the validation examples; `None` if a task's record is older."""
        rows = [task.validation for task in self.tasks if task.validation is not None]
        return _matrix(rows) if len(rows) == len(self.tasks) else None


def _matrix(rows: Sequence[Sequence[float]]) -> Tensor:
    """Rows that begin with what was measured, as a square matrix; the rest is NaN."""
    matrix = torch.full((len(rows), len(rows)), torch.nan, dtype=torch.float64)
    for line, row in zip(matrix, rows, strict=True):
        line[: len(row)] = torch.tensor(row, dtype=torch.float64)
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
