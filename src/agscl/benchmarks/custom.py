"""A user's own data as a task sequence, in one call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .cache import Cache
from .errors import DataError
from .loader import DatasetExamples, Label, as_example, labels_of
from .options import LoadOptions
from .own.arrays import read_arrays
from .own.source import SIDE, OwnSet, OwnSource, found_in, open_source
from .own.tasks import FEWEST, cut, read_task_file
from .raw import Report, no_report
from .sampling import hold_out, order, stream, thin
from .task import JSON, Task, TaskSequence

logger = logging.getLogger("agscl.data")

Parts = tuple[Dataset[Any], Dataset[Any]] | tuple[Dataset[Any], Dataset[Any], Dataset[Any]]
"""The data sets of a task: for training, perhaps for validation, and for testing."""


def from_folder(
    path: Path | str,
    num_tasks: int | Path | str,
    seed: int = 0,
    options: LoadOptions | None = None,
    *,
    size: int = SIDE,
    report: Report = no_report,
) -> TaskSequence:
    """Any folder of images: ``CLASS/*.jpg``, or ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg`` (and ``val``).

    Images are decoded once, into the data folder (``options.data_root``), and memory-mapped from there; a
    change to any file of the folder, or behind a link in it, has them decoded again. One line of what was found and
    left out goes to the log ``agscl.data``.

    Args:
        path: The folder.
        num_tasks: Number of tasks of equal size; or a JSON file that names the classes of each task
            (`agscl.benchmarks.own.tasks.read_task_file`).
        seed: Draws the order of classes, the validation examples if the folder has no ``val``, and a fifth of each
            class for testing if it has no ``test``.
        options: Scale, device and so on.
        size: Side of the images in pixels: the shorter side is scaled, the middle cut out.
        report: Told about progress while decoding.

    Raises:
        ValueError: If there are no images, one cannot be read, or classes cannot be shared out equally.
    """
    options = options or LoadOptions()
    source = OwnSource("folder", str(Path(path).absolute()))
    return _told(open_source(source, size, Cache(options.data_root), report), num_tasks, seed, options)


def from_npz(
    path: Path | str, num_tasks: int | Path | str, seed: int = 0, options: LoadOptions | None = None
) -> TaskSequence:
    """An ``.npz`` file with ``x_train, y_train, x_test, y_test`` or ``x, y``, and perhaps ``x_val``, ``classes``.

    Args:
        path: The file. Images are grey ``(N, H, W)`` or with channels first or last, of bytes, of more bits or of
            floats from 0 to 1; other numbers are features. Labels are integers, texts or one-hot.
        num_tasks: As for :func:`from_folder`.
        seed: Draws the order of classes, the validation examples, and a fifth of each class for testing if
            the file has no test images.
        options: Scale, device and so on.

    Raises:
        ValueError: If the file is damaged or foreign, or classes cannot be shared out equally.
    """
    return _told(read_arrays(Path(path)), num_tasks, seed, options or LoadOptions())


def from_csv(
    path: Path | str,
    num_tasks: int | Path | str,
    seed: int = 0,
    options: LoadOptions | None = None,
    *,
    size: int = SIDE,
    report: Report = no_report,
) -> TaskSequence:
    """A table with a column of paths of images (``path``) and one of labels (``label``), and perhaps ``split``.

    Args:
        path: The file; relative paths in it start where it is.
        num_tasks: As for :func:`from_folder`.
        seed: Draws as for :func:`from_folder`.
        options: Scale, device and so on.
        size: Side of the images in pixels.
        report: Told about progress while decoding.

    Raises:
        ValueError: If a column cannot be told, or a line names no image or no label.
    """
    options = options or LoadOptions()
    source = OwnSource("csv", str(Path(path).absolute()))
    return _told(open_source(source, size, Cache(options.data_root), report), num_tasks, seed, options)


def from_datasets(
    datasets: Sequence[Parts],
    seed: int = 0,
    options: LoadOptions | None = None,
    *,
    names: Sequence[str] | None = None,
    workers: int = 0,
    order_by: Literal["given", "seed"] = "given",
) -> TaskSequence:
    """Torch data sets as tasks: a training and a test set for each, perhaps with a validation set between them.

    They are read through a DataLoader, with their own transforms, and may be of any size.

    Args:
        datasets: Map-style data sets of ``(input tensor, label)``; a label is an integer, a text or one-hot. Without
            validation sets, a share of each training set is used for validation, with its transforms.
        seed: Draws the validation examples, and the order of the tasks if asked to.
        options: Scale and device; ``augment`` is up to the data sets' transforms.
        names: Names of the tasks.
        workers: Processes that read in parallel.
        order_by: Whether tasks come in the order given or in one drawn by the seed.

    Raises:
        ValueError: If a data set cannot be split, or inputs differ in shape between tasks.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> train = TensorDataset(torch.rand(20, 3), torch.arange(20) % 2)
        >>> test = TensorDataset(torch.rand(4, 3), torch.arange(4) % 2)
        >>> sequence = from_datasets([(train, test), (train, test)], names=["day", "night"])
        >>> [(task.name, len(task.train), len(task.validation), len(task.test)) for task in sequence.tasks]
        [('day', 18, 2, 4), ('night', 18, 2, 4)]
    """
    options = options or LoadOptions()
    if not datasets:
        raise ValueError("there are no data sets: give a pair of training and test sets for each task")
    if names is not None and len(names) != len(datasets):
        raise ValueError(f"{len(names)} names for {len(datasets)} tasks")
    positions = list(range(len(datasets))) if order_by == "given" else order(len(datasets), seed, "task order")
    labels = [f"task {number}" for number in range(1, len(datasets) + 1)] if names is None else list(names)
    used = positions[: options.tasks]
    tasks = [_dataset_task(labels[position], datasets[position], seed, options, workers) for position in used]
    shapes = {_input_shape(labels[position], part) for position in used for part in datasets[position]}
    if len(shapes) != 1:
        raise ValueError(f"all tasks need inputs of one shape, got {sorted(shapes)}")
    task_order: list[JSON] = [labels[position] for position in positions]
    record = {"seed": seed, "task_order": task_order, **options.scaled_down(len(datasets))}
    return TaskSequence("own", tuple(tasks), shapes.pop(), record)


def _told(own: OwnSet, tasks: int | Path | str, seed: int, options: LoadOptions) -> TaskSequence:
    """The tasks, and one line of what was found to the log: as a warning if something was left out or looks odd."""
    sequence = cut(own, tasks if isinstance(tasks, int) else read_task_file(Path(tasks)), seed, options)
    odd = any(note.startswith("left out") or "WARNING" in note for note in own.notes)
    logger.log(logging.WARNING if odd else logging.INFO, "%s", found_in(own))
    return sequence


def _dataset_task(name: str, parts: Parts, seed: int, options: LoadOptions, workers: int) -> Task:
    if not isinstance(parts, tuple | list) or len(parts) not in (2, 3):
        raise DataError(f"{name}: give a training and a test set, or a training, a validation and a test set")
    classes, targets = _targets(name, parts)

    def examples(part: int, rows: Tensor, fraction: float = 1.0) -> DatasetExamples:
        own = targets[part]
        rows = rows[thin(own[rows], fraction, stream(seed, "fraction"))]
        return DatasetExamples(parts[part], rows, own[rows], classes, device=options.device, workers=workers)

    if len(parts) == 2:  # noqa: PLR2004 - no validation set
        kept, aside = hold_out(targets[0], options.validation, stream(seed, "validation split"))
        validation = examples(0, aside, options.fraction)
    else:
        kept, validation = torch.arange(len(targets[0])), examples(1, torch.arange(len(targets[1])), options.fraction)
    test = examples(len(parts) - 1, torch.arange(len(targets[-1])))
    task = Task(name, len(classes), examples(0, kept, options.fraction), validation, test)
    for what, part in (("train", task.train), ("validate", task.validation), ("test", task.test)):
        if not len(part):
            raise DataError(f"{name} has no example to {what} with")
    return task


def _targets(name: str, parts: Parts) -> tuple[list[Label], list[Tensor]]:
    """The classes of a task, and for each of its data sets the positions of their labels among them."""
    labels = [_labels(name, part) for part in parts]
    classes = _sorted(name, labels[0])
    place = {label: position for position, label in enumerate(classes)}
    for part in labels[1:]:
        if foreign := [label for label in part if label not in place]:
            raise DataError(f"{name}: the test set has labels that the training set lacks, such as {foreign[0]!r}")
    if untested := [label for label in classes if label not in set(labels[-1])]:
        raise DataError(f"{name}: no example of label {untested[0]!r} is for testing")
    return classes, [torch.tensor([place[label] for label in part], dtype=torch.int64) for part in labels]


def _labels(name: str, dataset: Dataset[Any]) -> list[Label]:
    try:
        return labels_of(dataset)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _sorted(name: str, labels: Sequence[Label]) -> list[Label]:
    """The different labels in order: numbers by size, or texts."""
    different = set(labels)
    if len({type(label) for label in different}) > 1:
        raise DataError(f"{name}: labels of texts and of numbers")
    if len(different) < FEWEST:
        raise DataError(f"{name}: {len(different)} classes are too few, there is nothing to tell apart")
    return sorted(different)


def _input_shape(name: str, dataset: Dataset[Any]) -> tuple[int, ...]:
    try:
        return tuple(as_example(dataset[0])[0].shape)
    except DataError as error:
        raise DataError(f"{name}, {type(dataset).__name__}: {error}") from error
