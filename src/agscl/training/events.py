"""What happens while a sequence is learned, as typed events for whoever wants to watch or record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agscl.metrics import LayerCapacity


@dataclass(frozen=True)
class TaskStarted:
    """Training of a task begins.

    Attributes:
        task: Position in the sequence, from 0.
        name: Name of the task.
        tasks: Number of tasks in the sequence.
        epochs: Most epochs it may take.
    """

    event: ClassVar[str] = "TaskStarted"

    task: int
    name: str
    tasks: int
    epochs: int


@dataclass(frozen=True)
class Resumed:
    """A run goes on from a checkpoint.

    Attributes:
        task: Position of the task it goes on with, from 0.
        name: Name of the task.
        tasks: Number of tasks in the sequence.
        epochs: Most epochs it may take.
        epoch: Epochs of it that are finished.
    """

    event: ClassVar[str] = "Resumed"

    task: int
    name: str
    tasks: int
    epochs: int
    epoch: int


@dataclass(frozen=True)
class RateLowered:
    """Training diverged; the epoch begins again with a lower learning rate.

    Attributes:
        task: Position in the sequence, from 0.
        epoch: The epoch that begins again, from 1.
        reason: What was not finite.
        learning_rate: The new one.
    """

    event: ClassVar[str] = "RateLowered"

    task: int
    epoch: int
    reason: str
    learning_rate: float


@dataclass(frozen=True)
class EpochFinished:
    """One pass over a task's training examples is over, and validation too.

    Attributes:
        task: Position in the sequence, from 0.
        epoch: From 1.
        training_loss: Mean loss over the epoch, penalties that enter the loss included.
        validation_loss: Mean task loss.
        validation_accuracy: In [0, 1].
        learning_rate: That the epoch was trained with.
        seconds: Wall time of training and validation.
        steps: Optimizer steps in it.
    """

    event: ClassVar[str] = "EpochFinished"

    task: int
    epoch: int
    training_loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    steps: int


@dataclass(frozen=True)
class TaskFinished:
    """A task is learned and consolidated, and all tasks so far are evaluated.

    Attributes:
        task: Position in the sequence, from 0.
        name: Name of the task.
        epochs: Epochs it took.
        accuracy: Test accuracy on each task so far, in [0, 1].
        sparsity: Share of nodes that are free; `None` if the method does not rate nodes.
        used_capacity: Share of nodes that did not move while the task was learned; `None` for the first task.
        memory_bytes: All that the method keeps.
        regularization_bytes: Its regularization parameters alone, as figure 6(a) of the paper counts.
        seconds: Wall time of training, consolidation and evaluation.
        capacity: How full each layer is; `None` if the method has no notion of it, or the record is older.
        validation: Accuracy on the validation examples of each task so far; `None` if the record is older.
    """

    event: ClassVar[str] = "TaskFinished"

    task: int
    name: str
    epochs: int
    accuracy: tuple[float, ...]
    sparsity: float | None
    used_capacity: float | None
    memory_bytes: int
    regularization_bytes: int
    seconds: float
    capacity: tuple[LayerCapacity, ...] | None = None
    validation: tuple[float, ...] | None = None


Event = TaskStarted | Resumed | RateLowered | EpochFinished | TaskFinished
