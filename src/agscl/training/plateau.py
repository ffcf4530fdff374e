"""The learning rate as a function of the validation losses so far, or of the epochs alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .settings import Training


@dataclass(frozen=True)
class Plateau:
    """The state of a task's learning rate: an immutable value, replaced after each epoch.

    >>> training = Training(patience=2, decay=10)
    >>> plateau = Plateau(1.0)
    >>> for loss in (0.5, 0.6, 0.7, 0.4):
    ...     plateau = plateau.after(loss, training)
    ...     print(plateau.learning_rate, plateau.best, plateau.improved)
    1.0 0.5 True
    1.0 0.5 False
    0.1 0.5 False
    0.1 0.4 True

    Attributes:
        learning_rate: For the next epoch.
        best: Lowest validation loss so far.
        waited: Epochs since it was reached or the learning rate last fell.
        improved: Whether the last epoch set a new best.
        epochs: Epochs so far.
    """

    learning_rate: float
    best: float = math.inf
    waited: int = 0
    improved: bool = False
    epochs: int = 0

    def after(self, loss: float, training: Training) -> Plateau:
        """The state after one more epoch with the given validation loss."""
        epochs, improved = self.epochs + 1, loss < self.best
        waited = 0 if improved else self.waited + 1
        falls = training.milestones.count(epochs) if training.milestones else int(waited == training.patience)
        rate = self.learning_rate / training.decay**falls
        return Plateau(rate, min(loss, self.best), 0 if falls else waited, improved, epochs)

    def lowered(self, training: Training) -> Plateau:
        """The state with a lower learning rate, out of turn."""
        return replace(self, learning_rate=self.learning_rate / training.decay, waited=0)

    def finished(self, training: Training) -> bool:
        """Whether the learning rate fell below the floor."""
        return self.learning_rate < training.floor
