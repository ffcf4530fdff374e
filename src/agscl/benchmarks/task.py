"""Task sequences, the interface of benchmarks and training: tasks in an order, each with three disjoint parts.

Nothing here knows where the data came from; the training loop knows nothing else about data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Inputs ready for the model, shape ``(B, *input_shape)``, and labels, int64 of shape ``(B,)``."""

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
"""A value that JSON can hold."""


class Examples(Protocol):
    """A finite set of labelled examples that can be read in batches any number of times."""

    def __len__(self) -> int:
        """Number of examples."""

    def batches(self, batch_size: int, *, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield every example once; the last batch may be smaller.

        Args:
            batch_size: Largest number of examples in a batch.
            generator: Shuffles the examples (and drives augmentation, where there is any). Without it the
                examples come in stored order and are never augmented, as evaluation needs them.
        """


@dataclass(frozen=True)
class Task:
    """One classification problem: labels are ``0 .. num_classes - 1``."""

    name: str
    num_classes: int
    train: Examples
    validation: Examples
    test: Examples


@dataclass(frozen=True)
class TaskSequence:
    """Tasks in the order in which they are learned.

    Attributes:
        name: Name of the benchmark.
        tasks: The tasks, first to last.
        input_shape: Shape of one input as the model sees it, e.g. ``(3, 32, 32)``.
        record: What was drawn or scaled down (seed, task order, class order, fraction), for the run's record.
    """

    name: str
    tasks: tuple[Task, ...]
    input_shape: tuple[int, ...]
    record: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """Number of classes of each task: the sizes of the heads."""
        return tuple(task.num_classes for task in self.tasks)
