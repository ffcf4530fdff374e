"""A user's own data as a task sequence, in one call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from agscl.benchmarks.formats.decode import is_image
from agscl.benchmarks.formats.folder import read_tree
from agscl.benchmarks.formats.npz import npz_set

from .cache import Cache
from .errors import DataError
from .image_set import ImageSet
from .loader import DatasetExamples, labels_of
from .options import LoadOptions
from .raw import Report, as_text, no_report
from .sampling import hold_out, order, stream, thin
from .sequences import split_classes
from .split import prepare, with_drawn_test
from .task import JSON, Task, TaskSequence

TEST_SHARE = 0.2


def from_folder(
    path: Path | str,
    num_tasks: int,
    seed: int = 0,
    options: LoadOptions | None = None,
    *,
    size: int = 64,
    report: Report = no_report,
) -> TaskSequence:
    """Any folder of images: ``CLASS/*.jpg``, or ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``.

    Images are decoded once, into the data folder (``options.data_root``), and memory-mapped from there; a
    change to any file of the folder has them decoded again.

    Args:
        path: The folder.
        num_tasks: Number of tasks; must divide the number of classes.
        seed: Draws the order of classes, the validation examples, and a fifth of each class for testing if
            the folder has no ``test``.
        options: Scale, device and so on.
        size: Side of the images in pixels: the shorter side is scaled, the middle cut out.
        report: Told about progress while decoding.

    Raises:
        ValueError: If there are no images, one cannot be read, or classes cannot be shared out equally.
    """
    root, options = Path(path), options or LoadOptions()
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    cache, name = Cache(options.data_root), f"own-{_listing_digest(root, size)}"
    with cache.locked(name):
        if name not in cache:
            raw = read_tree(root, (3, size, size), fit="crop")
            if raw is None:
                raise DataError(f"{root} has no folders with images: expected CLASS/IMAGE or train/CLASS/IMAGE")
            cache.store(name, raw, as_text(root.name), report)
    return _sequence(as_text(root.name), cache.load(name), num_tasks, seed, options)


def from_npz(path: Path | str, num_tasks: int, seed: int = 0, options: LoadOptions | None = None) -> TaskSequence:
    """An ``.npz`` file with ``x_train, y_train, x_test, y_test`` or ``x, y``, and perhaps ``classes``.

    Args:
        path: The file; images are uint8, grey ``(N, H, W)`` or with channels first or last.
        num_tasks: Number of tasks; must divide the number of classes.
        seed: Draws the order of classes, the validation examples, and a fifth of each class for testing if
            the file has no test images.
        options: Scale, device and so on.

    Raises:
        ValueError: If the file is damaged or foreign, or classes cannot be shared out equally.
    """
    raw, name = npz_set(Path(path)), as_text(Path(path).stem)
    columns = (np.concatenate(column) for column in zip(*raw.pieces, strict=True))
    images, labels, is_test = (torch.from_numpy(np.ascontiguousarray(column)) for column in columns)
    held = ImageSet(name, images, labels, is_test, raw.classes)
    return _sequence(name, held, num_tasks, seed, options or LoadOptions())


def from_datasets(
    datasets: Sequence[tuple[Dataset[Any], Dataset[Any]]],
    seed: int = 0,
    options: LoadOptions | None = None,
    *,
    names: Sequence[str] | None = None,
    workers: int = 0,
    order_by: Literal["given", "seed"] = "given",
) -> TaskSequence:
    """Torch data sets as tasks: one pair of training and test sets for each.

    They are read through a DataLoader, with their own transforms, and may be of any size.

    Args:
        datasets: Map-style data sets of ``(input tensor, integer label)``.
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
    positions = list(range(len(datasets))) if order_by == "given" else order(len(datasets), seed, "task order")
    labels = [f"task {number}" for number in range(1, len(datasets) + 1)] if names is None else list(names)
    tasks = [
        _dataset_task(labels[position], datasets[position], seed, options, workers)
        for position in positions[: options.tasks]
    ]
    shapes = {_input_shape(datasets[position][0]) for position in positions[: options.tasks]}
    if len(shapes) != 1:
        raise ValueError(f"all tasks need inputs of one shape, got {sorted(shapes)}")
    task_order: list[JSON] = [labels[position] for position in positions]
    record = {"seed": seed, "task_order": task_order, **options.scaled_down(len(datasets))}
    return TaskSequence("own", tuple(tasks), shapes.pop(), record)


def _sequence(name: str, images: ImageSet, num_tasks: int, seed: int, options: LoadOptions) -> TaskSequence:
    if not images.is_test.any():
        images = with_drawn_test(images, TEST_SHARE, seed)
    return split_classes(name, prepare(images, seed, options), seed, num_tasks)


def _listing_digest(root: Path, size: int) -> str:
    """Digest of the names, sizes and times of all images below a folder."""
    digest = hashlib.sha256(os.fsencode(f"{root.resolve()} {size}"))
    for path in sorted(path for path in root.rglob("*") if is_image(path)):
        status = path.stat()
        digest.update(os.fsencode(f"{path.relative_to(root)} {status.st_size} {status.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]


def _dataset_task(
    name: str, pair: tuple[Dataset[Any], Dataset[Any]], seed: int, options: LoadOptions, workers: int
) -> Task:
    (train, test), (labels, test_labels) = pair, map(labels_of, pair)
    classes = torch.unique(labels)
    if not torch.isin(test_labels, classes).all():
        raise ValueError(f"{name}: the test set has labels that the training set lacks")
    kept, aside = hold_out(labels, options.validation, stream(seed, "validation split"))

    def part(dataset: Dataset[Any], labels: Tensor, rows: Tensor) -> DatasetExamples:
        targets = torch.searchsorted(classes, labels[rows])
        return DatasetExamples(dataset, rows, targets, device=options.device, workers=workers)

    training, validation = (
        part(train, labels, rows[thin(labels[rows], options.fraction, stream(seed, "fraction"))])
        for rows in (kept, aside)
    )
    return Task(name, len(classes), training, validation, part(test, test_labels, torch.arange(len(test_labels))))


def _input_shape(dataset: Dataset[Any]) -> tuple[int, ...]:
    first = dataset[0][0]
    if not isinstance(first, Tensor) or not first.is_floating_point():
        raise ValueError(f"{type(dataset).__name__} gives {type(first).__name__}: let its transform make float tensors")
    return tuple(first.shape)
