"""Examples of a user's torch data set, read through a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .sampling import in_batches
from .task import Batch


class DatasetExamples:
    """Some examples of a map-style data set that gives ``(input tensor, integer label)``.

    Args:
        dataset: The data set; its own transforms (and random augmentation) apply.
        rows: Which of its examples, int64 of shape ``(M,)``.
        labels: Their labels within the task, int64 of shape ``(M,)``.
        device: Where batches are delivered.
        workers: Processes that read in parallel.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        rows: Tensor,
        labels: Tensor,
        *,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.labels = labels
        self.device = torch.device(device)
        self.workers = workers

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, batch_size: int, *, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield every example once, in an order drawn from ``generator`` when it is given."""
        chosen = in_batches(len(self), batch_size, generator)
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=[self.rows[positions].tolist() for positions in chosen],
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(0),
        )
        for (inputs, _), positions in zip(loader, chosen, strict=True):
            yield inputs.to(self.device), self.labels[positions].to(self.device)


def labels_of(dataset: Dataset[Any]) -> Tensor:
    """Label of every example, int64: from ``targets`` or ``labels`` if there are any, else by reading all.

    Raises:
        ValueError: If the data set has no length, or its labels are not integers.
    """
    if not isinstance(dataset, Sized):
        raise ValueError(f"{type(dataset).__name__} has no length: only map-style data sets can be split")
    known = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if known is None:
        known = [int(dataset[position][1]) for position in range(len(dataset))]
    labels = torch.as_tensor(known)
    if labels.is_floating_point() or labels.shape != (len(dataset),):
        raise ValueError(f"{type(dataset).__name__}: labels must be one integer per example")
    return labels.to(torch.int64)
