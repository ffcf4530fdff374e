"""Joint training: several tasks as one, each example answered by its own task's head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from agscl.benchmarks.task import Batch, Examples, Task


@dataclass(frozen=True)
class JoinedExamples:
    """The examples of several tasks as one set; labels count on from task to task.

    Every batch holds the same share of each task, as nearly as their sizes allow.

    Attributes:
        parts: The examples of each task.
        num_classes: Number of classes of each task.
    """

    parts: tuple[Examples, ...]
    num_classes: tuple[int, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def batches(self, batch_size: int, *, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield every example once; the last batches may be smaller."""
        count = math.ceil(len(self) / batch_size)
        first = accumulate(self.num_classes[:-1], initial=0)
        parts = [(part, start) for part, start in zip(self.parts, first, strict=True) if len(part)]
        sources = [(p.batches(math.ceil(len(p) / count), generator=generator), start) for p, start in parts]
        for _ in range(count):
            present = [(next(source, None), start) for source, start in sources]
            batches = [(batch[0], batch[1] + start) for batch, start in present if batch is not None]
            if batches:
                yield torch.cat([inputs for inputs, _ in batches]), torch.cat([labels for _, labels in batches])


def join(tasks: Sequence[Task]) -> Task:
    """Several tasks as one, for training and validation; the test examples are the last task's."""
    classes = tuple(task.num_classes for task in tasks)
    train = JoinedExamples(tuple(task.train for task in tasks), classes)
    validation = JoinedExamples(tuple(task.validation for task in tasks), classes)
    return Task(tasks[-1].name, sum(classes), train, validation, tasks[-1].test)


def joined_logits(outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Logits over the classes of all tasks, shape ``(B, sum of classes)``.

    Those of other tasks than the example's own are ``-inf``: as in any training with a head per task, the task of an
    example is known, and its loss is that of its own head.

    Args:
        outputs: Each head's logits, in order.
        labels: Labels that count on from head to head, shape ``(B,)``.
    """
    sizes = torch.tensor([logits.shape[1] for logits in outputs], device=labels.device)
    owner = torch.arange(len(outputs), device=labels.device).repeat_interleave(sizes)
    other: Tensor = owner != owner[labels].unsqueeze(1)
    return torch.cat(list(outputs), dim=1).masked_fill(other, -math.inf)
