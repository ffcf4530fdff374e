"""Examples of a user's torch data set, read through a DataLoader."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, default_collate

from .errors import DataError
from .sampling import in_batches
from .task import Batch

Label = int | str
"""What tells the class of an example."""

PAIR = 2
SEEDS = 2**62
"""How many seeds of workers there are."""


class DatasetExamples:
    """Some examples of a map-style data set that gives ``(input tensor, label)``.

    Args:
        dataset: The data set; its own transforms (and random augmentation) apply.
        rows: Which of its examples, int64 of shape ``(M,)``.
        labels: Their labels within the task, int64 of shape ``(M,)``.
        classes: The label in the data set of each class of the task.
        device: Where batches are delivered.
        workers: Processes that read in parallel.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        rows: Tensor,
        labels: Tensor,
        classes: Sequence[Label],
        *,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.labels = labels
        self.classes = tuple(classes)
        self.device = torch.device(device)
        self.workers = workers

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, batch_size: int, *, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield every example once, in an order drawn from ``generator`` when it is given.

        Workers are seeded from it too, so that random transforms differ from epoch to epoch and with the seed.

        Raises:
            DataError: If a label is another than when labels were counted, or inputs of a batch differ in shape.
        """
        chosen = in_batches(len(self), batch_size, generator)
        seed = int(torch.randint(SEEDS, (), generator=generator)) if self.workers and generator is not None else 0
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=[self.rows[positions].tolist() for positions in chosen],
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(seed),
            collate_fn=_collated,
        )
        for (inputs, given), positions in zip(loader, chosen, strict=True):
            if isinstance(inputs, str):
                raise DataError(f"{type(self.dataset).__name__}: {inputs}")
            for label, position in zip(given, positions.tolist(), strict=True):
                if (expected := self.classes[int(self.labels[position])]) != label:
                    which = (
                        f"{type(self.dataset).__name__} gives example {int(self.rows[position])} the label {label!r}"
                    )
                    raise DataError(f"{which}, but counted it as {expected!r}: its targets and its items must agree")
            yield inputs.to(self.device), self.labels[positions].to(self.device)


def _collated(items: Sequence[Any]) -> tuple[Any, list[Label]]:
    """A batch of inputs and the label of each; a complaint in place of the inputs if they are no batch."""
    try:
        pairs = [as_example(item) for item in items]
        return default_collate([inputs for inputs, _ in pairs]), [label for _, label in pairs]
    except (ValueError, RuntimeError, TypeError) as error:
        shapes = {tuple(item[0].shape) for item in items if isinstance(item, Sequence) and isinstance(item[0], Tensor)}
        uneven = (
            f"inputs of one batch have shapes {', '.join(map(str, sorted(shapes)))}: let a transform make them alike"
        )
        return uneven if len(shapes) > 1 else str(error).partition("\n")[0], []


def as_example(item: Any) -> tuple[Tensor, Label]:
    """An item of a data set as inputs and label.

    Raises:
        DataError: If it is no pair of a float tensor and a label; says what it is.
    """
    if not isinstance(item, tuple | list) or len(item) != PAIR:
        what = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
        raise DataError(f"an item is {what}: it must be a pair of an input tensor and a label")
    inputs, label = item
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        what = f"a tensor of {inputs.dtype}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise DataError(f"an input is {what}: let the transform make float tensors")
    return inputs, as_label(label)


def as_label(value: Any) -> Label:
    """A label as a plain integer or text; one that is one-hot as its position.

    Raises:
        DataError: If it is something else, such as a fraction.

    Example:
        >>> as_label(torch.tensor([0, 0, 1])), as_label(torch.tensor([7])), as_label("cat")
        (2, 7, 'cat')
    """
    if isinstance(value, str):
        return value
    if hasattr(value, "tolist"):  # a tensor, an array, or a number of numpy
        flat = value.reshape(-1).tolist()
        if len(flat) > 1 and sorted(flat) == [*[0] * (len(flat) - 1), 1]:
            return int(flat.index(1))
        value = flat[0] if len(flat) == 1 else value
    try:
        return operator.index(value)
    except TypeError:
        raise DataError(f"a label is {value!r}: it must be an integer or a text, or one-hot") from None


def labels_of(dataset: Any) -> list[Label]:
    """Label of every example: from what the data set knows, or else by reading all.

    Raises:
        DataError: If it has no length, or an item is no pair of inputs and label.
    """
    name = type(dataset).__name__
    if isinstance(dataset, DataLoader):
        raise DataError("a DataLoader is no data set: give what is in its attribute dataset")
    if not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
        raise DataError(f"{name} has no length: only map-style data sets can be split")
    known = _known(dataset)
    if known is not None:
        return known
    try:
        return [as_example(dataset[position])[1] for position in range(len(dataset))]
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _known(dataset: Any) -> list[Label] | None:
    """Labels that a data set gives without reading its examples; `None` if it has to be read."""
    if type(dataset) is Subset:
        whole = _known(dataset.dataset)
        return None if whole is None else [whole[position] for position in dataset.indices]
    if type(dataset) is ConcatDataset:
        parts = [_known(part) for part in dataset.datasets]
        return [label for part in parts for label in part or []] if None not in parts else None
    if type(dataset) is TensorDataset and len(dataset.tensors) == PAIR:
        return [as_label(label) for label in dataset.tensors[1]]
    targets: Any = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if targets is None or isinstance(targets, str | dict) or not hasattr(targets, "__len__") or not len(dataset):
        return None
    change = getattr(dataset, "target_transform", None)
    try:
        labels = [as_label(label if change is None else change(_plain(label))) for label in targets]
        same = len(labels) == len(dataset) and labels[0] == as_label(dataset[0][1])
    except (TypeError, ValueError, LookupError):  # names of classes, and whatever else may be called labels
        return None
    return labels if same else None


def _plain(label: Any) -> Any:
    """A label as torchvision gives it to a target transform."""
    return label.item() if isinstance(label, Tensor) and label.ndim == 0 else label
