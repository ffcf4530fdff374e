"""What a learned sequence leaves behind in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .events import TaskFinished


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
