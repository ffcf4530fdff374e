"""The learning rate as a function of the validation losses so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .settings import Training


@dataclass(frozen=True)
class Plateau:
    """Where a task's training stands: an immutable value, replaced after each epoch.

    Attributes:
        learning_rate: For the next epoch.
        best: Lowest validation loss so far.
        waited: Epochs since it was reached or the learning rate last fell.
        improved: Whether the last epoch set a new best.
    """

    learning_rate: float
    best: float = math.inf
    waited: int = 0
    improved: bool = False

    def after(self, loss: float, training: Training) -> Plateau:
        """The state after one more epoch with the given validation loss."""
        if loss < self.best:
            return replace(self, best=loss, waited=0, improved=True)
        if self.waited + 1 < training.patience:
            return replace(self, waited=self.waited + 1, improved=False)
        return replace(self, learning_rate=self.learning_rate / training.decay, waited=0, improved=False)

    def finished(self, training: Training) -> bool:
        """Whether the learning rate fell below the floor."""
        return self.learning_rate < training.floor
