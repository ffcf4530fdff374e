"""How one task is trained: the settings of the paper's experiments are the defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Training:
    """Adam with a validation-driven learning rate, or SGD, or a learning rate that falls after given epochs.

    Whatever drives the learning rate, the weights of the lowest validation loss are kept.

    Source: Jung et al. (2020), section 4.1 and its official code.

    Attributes:
        epochs: Most epochs for each task.
        batch_size: Examples in a training batch.
        learning_rate: Learning rate at the start of each task.
        patience: Epochs without a better validation loss before the learning rate falls.
        decay: What the learning rate is divided by.
        floor: Training of a task ends when the learning rate would fall below this.
        optimizer: Adam or SGD, fresh for each task.
        momentum: Of SGD.
        milestones: Epochs after which the learning rate falls, ascending; if there are any, the validation loss has
            no say in it.
        on_divergence: When a loss, gradient or weight is not finite: stop, or restore the state at the start of the
            epoch and go on with the learning rate divided by ``decay``.
    """

    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    patience: int = 5
    decay: float = 3.0
    floor: float = 1e-6
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.0
    milestones: tuple[int, ...] = ()
    on_divergence: Literal["stop", "restore"] = "stop"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}")
        if not self.decay > 1:
            raise ValueError(f"decay divides the learning rate and must be above 1, got {self.decay}")
        if not self.floor >= 0:
            raise ValueError(f"floor must not be negative, got {self.floor}")
        self._check_choices()
        if list(self.milestones) != sorted(self.milestones) or min(self.milestones, default=1) < 1:
            raise ValueError(f"milestones must be epochs from 1 up in ascending order, got {self.milestones}")

    def _check_choices(self) -> None:
        if self.optimizer not in ("adam", "sgd"):
            raise ValueError(f"optimizer must be 'adam' or 'sgd', not {self.optimizer!r}")
        if self.on_divergence not in ("stop", "restore"):
            raise ValueError(f"on_divergence must be 'stop' or 'restore', not {self.on_divergence!r}")
        if not 0 <= self.momentum < 1 or (self.momentum and self.optimizer != "sgd"):
            raise ValueError(f"momentum must be in [0, 1), and 0 without optimizer='sgd', got {self.momentum}")

    def with_epochs(self, epochs: int) -> Training:
        """The same with another number of epochs; milestones move in proportion.

        >>> Training(epochs=40, milestones=(20, 30)).with_epochs(4).milestones
        (2, 3)
        """
        milestones = (max(1, round(milestone * epochs / self.epochs)) for milestone in self.milestones)
        return replace(self, epochs=epochs, milestones=tuple(milestones))
