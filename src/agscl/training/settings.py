"""How one task is trained: the settings of the paper's experiments are the defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Training:
    """Adam with a validation-driven learning rate.

    Source: Jung et al. (2020), section 4.1 and its official code.

    Attributes:
        epochs: Most epochs for each task.
        batch_size: Examples in a training batch.
        learning_rate: Learning rate at the start of each task.
        patience: Epochs without a better validation loss before the learning rate falls.
        decay: What the learning rate is divided by.
        floor: Training of a task ends when the learning rate would fall below this.
    """

    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    patience: int = 5
    decay: float = 3.0
    floor: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}")
        if not self.decay > 1:
            raise ValueError(f"decay divides the learning rate and must be above 1, got {self.decay}")
        if not self.floor >= 0:
            raise ValueError(f"floor must not be negative, got {self.floor}")
