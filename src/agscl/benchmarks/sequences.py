"""The paper's benchmarks, and permuted and split MNIST: data sets of the cache as task sequences.

Every function takes a seed, which draws all orders and splits, and the shared options. ``num_tasks`` must divide the
number of classes. Without ``shuffle_classes`` tasks are consecutive classes, in alphabetical order as a rule, and only
the order of tasks is drawn, as in the AGS-CL code. What was drawn is in the sequence's record, with the fingerprint of
the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from .cache import Cache
from .catalogue import CATALOGUE
from .image_set import ImageSet
from .options import LoadOptions
from .sampling import order, partition
from .split import Parts, prepare, with_drawn_test
from .task import JSON, Task, TaskSequence

EIGHT = ("cifar10", "cifar100", "mnist", "svhn", "fashion-mnist", "gtsrb", "facescrub", "notmnist")
MIRRORED = frozenset({"cifar10", "cifar100", "fashion-mnist", "facescrub"})
"""Sets among the eight whose images may be mirrored without changing class."""

OMNIGLOT_TEST_SHARE = 0.1
NOTMNIST_TEST_SHARE = 0.2
PAPER_CUB_TRAINING_SHARE = 0.8


def cifar100(
    seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 10, shuffle_classes: bool = True
) -> TaskSequence:
    """CIFAR-100, 10 tasks of 10 classes (or 20 of 5, and so on).

    Args:
        seed: Draws the order of classes, or of tasks, and the validation examples.
        options: Scale, device and so on.
        num_tasks: Number of tasks of equal size.
        shuffle_classes: Draw which classes share a task. Without it tasks are ten classes in alphabetical
            order and only the order of tasks is drawn, as in the AGS-CL code.
    """
    options = options or LoadOptions()
    parts = prepare(_load("cifar100", options), seed, options)
    return split_classes("cifar100", parts, seed, num_tasks, shuffle_classes=shuffle_classes)


def cifar10_100(
    seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 10, shuffle_classes: bool = True
) -> TaskSequence:
    """CIFAR-10 as the first task, then CIFAR-100 in ``num_tasks`` tasks; each with its own statistics."""
    options = options or LoadOptions()
    first, second = (prepare(_load(name, options), seed, options) for name in ("cifar10", "cifar100"))
    rest, names = _shared_out("cifar100", second, seed, num_tasks, shuffle_classes=shuffle_classes)
    task_classes: Sequence[JSON] = [first.images.classes, *names][: options.tasks]
    record = _record(seed, options, num_tasks + 1, [first.images, second.images], task_classes=task_classes)
    return TaskSequence("cifar10-100", (first.task("cifar10"), *rest)[: options.tasks], first.input_shape, record)


def omniglot(seed: int = 0, options: LoadOptions | None = None, *, shuffle_tasks: bool = False) -> TaskSequence:
    """Omniglot: each of the 50 alphabets is a task, its characters are the classes (14 to 55).

    Of the 20 drawings of each character 2 are for testing and about 2 of the others for validation.

    Args:
        seed: Draws the split, and the order of alphabets if it is shuffled.
        options: Scale, device and so on.
        shuffle_tasks: Draw the order; the paper does not (section 4.1), then it is alphabetical.
    """
    options = options or LoadOptions()
    images = with_drawn_test(_load("omniglot", options), OMNIGLOT_TEST_SHARE, options.seed_of_tests(seed))
    parts = prepare(images, seed, options, flip=False)
    alphabets: dict[str, list[int]] = {}
    for label, name in enumerate(images.classes):
        alphabets.setdefault(name.partition("/")[0], []).append(label)
    names = sorted(alphabets)
    if shuffle_tasks:
        names = [names[position] for position in order(len(names), seed, "task order")]
    tasks = tuple(parts.task(name, alphabets[name]) for name in names[: options.tasks])
    record = _record(seed, options, len(names), [images], task_order=names)
    return TaskSequence("omniglot", tasks, parts.input_shape, record)


def cub200(
    seed: int = 0,
    options: LoadOptions | None = None,
    *,
    num_tasks: int = 10,
    split: Literal["official", "paper"] = "official",
    size: int = 224,
    shuffle_classes: bool = True,
) -> TaskSequence:
    """CUB-200-2011, 10 tasks of 20 kinds of birds.

    Inputs are the middle 7/8 of the stored images (224 of 256 pixels), scaled to ``size``; with augmentation,
    as in the AGS-CL code, boxes of random size and shape, half of them mirrored.

    Args:
        seed: Draws the order of classes, or of tasks, and the validation examples.
        options: Scale, device and so on.
        num_tasks: Number of tasks of equal size.
        split: ``"official"``, about half for training; ``"paper"``: the first 80 % of each class's images, as
            the AGS-CL code does.
        size: Side of the inputs in pixels.
        shuffle_classes: As for :func:`cifar100`.

    Raises:
        ValueError: If there is no such split.
    """
    options = options or LoadOptions()
    images = _load("cub200", options)
    if split == "paper":
        images = _first_share_trains(images, PAPER_CUB_TRAINING_SHARE)
    elif split != "official":
        raise ValueError(f"split must be 'official' or 'paper', got {split!r}")
    parts = prepare(images, seed, replace(options, augment=False))
    crop = images.image_shape[1] * 7 // 8
    pipeline = replace(parts.pipeline, crop=crop, resize=size, zoom=options.augment, flip=options.augment)
    parts = replace(parts, pipeline=pipeline)
    sequence = split_classes("cub200", parts, seed, num_tasks, shuffle_classes=shuffle_classes)
    return replace(sequence, record={**sequence.record, "split": split, "stored_size": images.image_shape[1]})


def eight(seed: int = 0, options: LoadOptions | None = None, *, sets: Sequence[str] = EIGHT) -> TaskSequence:
    """Eight data sets, one task each, all as 32x32 colour images with their own statistics.

    Args:
        seed: Draws the order of the sets and the validation examples.
        options: Scale, device and so on.
        sets: Which of the eight, if not all are there.

    Raises:
        ValueError: If a set is none of the eight.
    """
    options = options or LoadOptions()
    if unknown := set(sets) - set(EIGHT):
        raise ValueError(f"not among the eight data sets: {', '.join(sorted(unknown))}")
    names = [sets[position] for position in order(len(sets), seed, "task order")]
    tasks, loaded = [], []
    for name in names[: options.tasks]:
        images = _load(name, options)
        if name == "notmnist" and not images.is_test.any():
            images = with_drawn_test(images, NOTMNIST_TEST_SHARE, options.seed_of_tests(seed))
        parts = prepare(images, seed, options, side=32, flip=name in MIRRORED)
        tasks.append(replace(parts, pipeline=replace(parts.pipeline, channels=3)).task(name))
        loaded.append(images)
    record = _record(seed, options, len(EIGHT), loaded, used=len(tasks), task_order=names)
    return TaskSequence("eight", tuple(tasks), (3, 32, 32), record)


def split_mnist(
    seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 5, shuffle_classes: bool = True
) -> TaskSequence:
    """MNIST, 5 tasks of 2 digits."""
    options = options or LoadOptions()
    parts = prepare(_load("mnist", options), seed, options, flip=False)
    return split_classes("split-mnist", parts, seed, num_tasks, shuffle_classes=shuffle_classes)


def permuted_mnist(seed: int = 0, options: LoadOptions | None = None, *, num_tasks: int = 10) -> TaskSequence:
    """All ten digits in every task, each task with its own fixed order of the pixels (the first: natural)."""
    options = options or LoadOptions()
    parts = prepare(_load("mnist", options), seed, options, flip=False)
    record = _record(seed, options, num_tasks, [parts.images])
    return TaskSequence("permuted-mnist", parts.permuted(num_tasks, seed), parts.input_shape, record)


def split_classes(name: str, parts: Parts, seed: int, num_tasks: int, *, shuffle_classes: bool = True) -> TaskSequence:
    """Share the classes of a set out among tasks of equal size."""
    tasks, names = _shared_out(name, parts, seed, num_tasks, shuffle_classes=shuffle_classes)
    record = _record(seed, parts.options, num_tasks, [parts.images], task_classes=names)
    return TaskSequence(name, tasks, parts.input_shape, record)


def _shared_out(
    name: str, parts: Parts, seed: int, num_tasks: int, *, shuffle_classes: bool
) -> tuple[tuple[Task, ...], list[list[str]]]:
    """The tasks, and the names of the classes of each."""
    count = len(parts.images.classes)
    if shuffle_classes:
        groups = partition(order(count, seed, "class order"), num_tasks)
    else:
        consecutive = partition(range(count), num_tasks)
        groups = [consecutive[position] for position in order(num_tasks, seed, "task order")]
    used = groups[: parts.options.tasks]
    tasks = tuple(parts.task(f"{name} {number}", group) for number, group in enumerate(used, start=1))
    return tasks, [[parts.images.classes[label] for label in group] for group in used]


def _load(name: str, options: LoadOptions) -> ImageSet:
    return Cache(options.data_root).load(name)


def _first_share_trains(images: ImageSet, share: float) -> ImageSet:
    """The split of the AGS-CL code: the first ``ceil(share * n)`` of each class's n images train."""
    is_test = torch.ones(len(images), dtype=torch.bool)
    for label in range(len(images.classes)):
        members = (images.labels == label).nonzero().flatten()
        is_test[members[: math.ceil(share * len(members))]] = False
    return replace(images, is_test=is_test)


def _record(
    seed: int,
    options: LoadOptions,
    num_tasks: int,
    sets: Sequence[ImageSet],
    *,
    used: int | None = None,
    **drawn: JSON,
) -> dict[str, JSON]:
    """What was drawn, from which data, and how it was scaled down."""
    scale = options.scaled_down(num_tasks)
    if used is not None:
        scale |= {"tasks": used, "scaled_down": used < num_tasks or options.fraction < 1}
    return {"seed": seed, **drawn, "data": [_described(images) for images in sets], **scale}


def _described(images: ImageSet) -> dict[str, JSON]:
    entry = CATALOGUE.get(images.name)
    complete = entry is not None and len(images) in entry.count
    return {"name": images.name, "images": len(images), "complete": complete, "fingerprint": images.fingerprint}
