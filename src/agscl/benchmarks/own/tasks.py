"""Own data cut into tasks: of equal size in a drawn order, or as a file says; every class is learned and tested."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.image_set import ImageSet
from agscl.benchmarks.options import LoadOptions
from agscl.benchmarks.regular import read_regular, require_regular
from agscl.benchmarks.sampling import drawn_test, order, partition
from agscl.benchmarks.split import Parts, prepare
from agscl.benchmarks.task import JSON, Task, TaskSequence

from .features import FeatureParts, prepare_features
from .source import OwnSet

TEST_SHARE = 0.2
"""Of each class, where the source keeps nothing for testing."""

FEWEST = 2
"""Classes of a task."""


@dataclass(frozen=True)
class NamedTask:
    """A task by the names of its classes.

    Attributes:
        name: Of the task.
        classes: Names of its classes.
    """

    name: str
    classes: tuple[str, ...]


def read_task_file(path: Path) -> tuple[NamedTask, ...]:
    """The tasks in a JSON file, in their order.

    It holds a list of tasks, each a list of names of classes or an object with ``name`` and ``classes``; or one object
    with the classes by the name of the task.

    Raises:
        DataError: If it is something else, or names a class twice.
    """
    content = _parsed(path)
    if isinstance(content, dict):
        content = [{"name": name, "classes": classes} for name, classes in content.items()]
    if not isinstance(content, list) or not content:
        raise DataError(f"{path} must hold a list of tasks, each a list of names of classes")
    tasks = tuple(_named_task(path, number, entry) for number, entry in enumerate(content, 1))
    seen: dict[str, str] = {}
    for task in tasks:
        for name in task.classes:
            if name in seen:
                raise DataError(f"{path} has class {name!r} twice, in {seen[name]} and in {task.name}")
            seen[name] = task.name
    if len({task.name for task in tasks}) != len(tasks):
        raise DataError(f"{path} has two tasks of one name")
    return tasks


def _parsed(path: Path) -> Any:
    """The content of a JSON file, no object of which has a name twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise DataError(f"{path} has a name twice: {', '.join(name for name, _ in pairs)}")
        return dict(pairs)

    try:
        return json.loads(read_regular(require_regular(path)).decode("utf-8-sig"), object_pairs_hook=unique)
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no JSON: {error}") from error


def _named_task(path: Path, number: int, entry: object) -> NamedTask:
    name, classes = f"task {number}", entry
    if isinstance(entry, Mapping):
        if unknown := set(entry) - {"name", "classes"}:
            raise DataError(f"{path}, task {number}: a task has a name and classes, not {min(unknown)!r}")
        name, classes = entry.get("name", name), entry.get("classes")
    if not isinstance(name, str) or not name:
        raise DataError(f"{path}, task {number}: its name must be a text")
    if not isinstance(classes, list) or not all(isinstance(value, str) or type(value) is int for value in classes):
        raise DataError(f"{path}, task {number}: its classes must be a list of names")
    if len(classes) < FEWEST:
        raise DataError(f"{path}, task {number}: {len(classes)} classes are too few, there is nothing to tell apart")
    return NamedTask(name, tuple(map(str, classes)))


def cut(own: OwnSet, tasks: int | Sequence[NamedTask], seed: int, options: LoadOptions) -> TaskSequence:
    """Own data as a sequence of tasks.

    Args:
        own: The data.
        tasks: Their number, of equal size with classes in an order drawn by the seed; or the tasks by name.
        seed: Draws the order of classes, a fifth of each class for testing and a tenth for validation, where the source
            keeps none.
        options: Scale and device.

    Raises:
        DataError: If the classes cannot be shared out so, or a class or a task would be without examples to learn, to
            validate or to test.
    """
    groups = _groups(own, tasks, seed)
    drawn = not own.is_test.any()
    if drawn:
        tests = drawn_test(own.labels, own.is_validation, TEST_SHARE, options.seed_of_tests(seed))
        own = replace(own, is_test=tests)
    _require_both(own, [label for _, group in groups for label in group], drawn=drawn)
    parts: Parts | FeatureParts
    parts = prepare(own, seed, options) if isinstance(own, ImageSet) else prepare_features(own, seed, options)
    used = groups[: options.tasks]
    made = tuple(parts.task(name, group) for name, group in used)
    for task in made:
        _require_parts(own, task)
    data: JSON = {"name": own.name, "examples": len(own), "fingerprint": own.fingerprint, "notes": list(own.notes)}
    record = {
        "seed": seed,
        "task_classes": [[own.classes[label] for label in group] for _, group in used],
        "task_names": [name for name, _ in used],
        "data": [data],
        "test_drawn": drawn,
        **options.scaled_down(len(groups)),
    }
    return TaskSequence(own.name, made, parts.input_shape, record)


def _groups(own: OwnSet, tasks: int | Sequence[NamedTask], seed: int) -> list[tuple[str, list[int]]]:
    """Name and labels of each task."""
    count = len(own.classes)
    if isinstance(tasks, int):
        if tasks < 1 or count % tasks:
            raise DataError(
                f"{count} classes cannot be cut into {tasks} tasks of equal size: {', '.join(own.classes[:9])}"
                f"{', ...' if count > 9 else ''}; a task file may name tasks of any size"  # noqa: PLR2004
            )
        if count // tasks < FEWEST:
            raise DataError(f"{count} classes in {tasks} tasks leave one class each: there is nothing to tell apart")
        groups = partition(order(count, seed, "class order"), tasks)
        return [(f"{own.name} {number}", group) for number, group in enumerate(groups, start=1)]
    labels = {name: label for label, name in enumerate(own.classes)}
    if unknown := [name for task in tasks for name in task.classes if name not in labels]:
        close = difflib.get_close_matches(unknown[0], own.classes, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(own.classes[:9])}"
        raise DataError(f"{own.name} has no class {unknown[0]!r}: {hint}")
    return [(task.name, [labels[name] for name in task.classes]) for task in tasks]


def _require_both(own: OwnSet, labels: Sequence[int], *, drawn: bool) -> None:
    """Refuse classes that would not be learned or not be tested."""
    aside = torch.zeros(len(own), dtype=torch.bool) if own.is_validation is None else own.is_validation
    learned, tested = (_counts(own, rows) for rows in (~own.is_test & ~aside, own.is_test))
    for label in labels:
        name, few = own.classes[label], int(learned[label])
        if drawn and not tested[label]:
            raise DataError(
                f"{own.name}: class {name!r} has {few} example{'' if few == 1 else 's'}; it needs 2 at least, one to "
                "learn and one to test: add some, or leave the class out"
            )
        if not few:
            raise DataError(f"{own.name}: class {name!r} has nothing for training: add some, or leave the class out")
        if not tested[label]:
            raise DataError(f"{own.name}: class {name!r} has nothing for testing: add some, or leave the class out")


def _counts(own: OwnSet, rows: Tensor) -> Tensor:
    return torch.bincount(own.labels[rows], minlength=len(own.classes))


def _require_parts(own: OwnSet, task: Task) -> None:
    for what, part in (("train", task.train), ("validate", task.validation), ("test", task.test)):
        if not len(part):
            raise DataError(
                f"{own.name}: {task.name!r} has no example to {what} with; its classes need 3 examples at least, or "
                "examples in val/"
            )
