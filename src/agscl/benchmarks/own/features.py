"""Examples that are no images: rows of numbers (measurements, embeddings, bags of words), standardised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agscl.benchmarks.options import LoadOptions
from agscl.benchmarks.sampling import in_batches, split_rows
from agscl.benchmarks.task import Batch, Task


@dataclass(frozen=True)
class FeatureSet:
    """Labelled examples of any shape.

    Attributes:
        name: Name of the set.
        values: float32, shape ``(N, ...)``.
        labels: int64, shape ``(N,)``, positions in ``classes``.
        is_test: bool, shape ``(N,)``.
        classes: Names of the classes.
        fingerprint: Digest of the data.
        is_validation: bool, shape ``(N,)``; `None`: the source does not say.
        notes: What was found, for people.
    """

    name: str
    values: Tensor
    labels: Tensor
    is_test: Tensor
    classes: tuple[str, ...]
    fingerprint: str = ""
    is_validation: Tensor | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)


class FeatureExamples:
    """Examples of one part of a task, in memory.

    Args:
        values: float32, shape ``(N, ...)``; where batches are delivered.
        labels: Integers of shape ``(N,)``.

    Example:
        >>> [len(y) for _, y in FeatureExamples(torch.zeros(5, 3), torch.arange(5)).batches(2)]
        [2, 2, 1]
    """

    def __init__(self, values: Tensor, labels: Tensor) -> None:
        self.values = values
        self.labels = labels.to(values.device, torch.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, *, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield every example once, shuffled by ``generator`` when it is given."""
        for chosen in in_batches(len(self), batch_size, generator):
            positions = chosen.to(self.values.device)
            yield self.values[positions], self.labels[positions]


@dataclass(frozen=True)
class FeatureParts:
    """A set of features and its three parts, from which tasks are cut.

    Attributes:
        images: The set, standardised by its training rows.
        train: Row numbers of the training examples, ascending; likewise the next two, all disjoint.
        validation: Row numbers of the validation examples.
        test: Row numbers of the test examples.
        options: Device.
    """

    images: FeatureSet
    train: Tensor
    validation: Tensor
    test: Tensor
    options: LoadOptions

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of the tasks."""
        return tuple(self.images.values.shape[1:])

    def task(self, name: str, classes: Sequence[int] | None = None) -> Task:
        """The task of telling these classes apart (default: all); labels are positions in ``classes``."""
        every = len(self.images.classes)
        chosen = torch.arange(every) if classes is None else torch.tensor(classes)
        position = torch.full((every,), -1, dtype=torch.int64)
        position[chosen] = torch.arange(len(chosen))
        parts = (self._examples(rows, position) for rows in (self.train, self.validation, self.test))
        return Task(name, len(chosen), *parts)

    def _examples(self, rows: Tensor, position: Tensor) -> FeatureExamples:
        labels = position[self.images.labels[rows]]
        rows, labels = rows[labels >= 0], labels[labels >= 0]
        return FeatureExamples(self.images.values[rows].to(self.options.device), labels)


def prepare_features(features: FeatureSet, seed: int, options: LoadOptions) -> FeatureParts:
    """Split a set into three parts, and standardise every number by mean and deviation over the training rows."""
    train, validation, test = split_rows(features.labels, features.is_test, features.is_validation, seed, options)
    known = features.values[train].double()
    mean, std = known.mean(dim=0), known.std(dim=0, correction=0)
    std[std == 0] = 1  # what never varies becomes 0
    values = ((features.values.double() - mean) / std).float()
    standardised = FeatureSet(features.name, values, features.labels, features.is_test, features.classes)
    return FeatureParts(standardised, train, validation, test, options)
