"""What a record of a run says twice must be the same, and nothing in it may be impossible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose, isnan, nan
from typing import Any

from agscl.training import TaskFinished

Row = Sequence[float | None]


def require_possible(tasks: Sequence[TaskFinished], counts: Mapping[str, object]) -> None:
    """Refuse accuracies and shares outside 0 to 1, and tasks that are not those that were asked for.

    Args:
        tasks: The tasks of a result, in order.
        counts: How many there should be, by what says so; what is no whole number says nothing.

    Raises:
        ValueError: If something is impossible.
    """
    for number, task in enumerate(tasks, 1):
        shares = [
            *task.accuracy,
            *(task.validation or ()),
            *(share for share in (task.sparsity, task.used_capacity) if share is not None),
        ]
        if odd := [share for share in shares if not 0 <= share <= 1]:
            raise ValueError(f"result.json: {odd[0]:g} is no share from 0 to 1, in task {number}")
        if task.task + 1 != number:
            raise ValueError(f"result.json: task {task.task + 1} stands in the place of task {number}")
    for place, count in counts.items():
        if isinstance(count, int) and count != len(tasks):
            raise ValueError(f"result.json has {len(tasks)} tasks, {place} has {count}")


def require_same(written: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a matrix, measures or a scale that do not follow from the tasks and the experiment.

    Args:
        written: ``accuracy``, ``measures`` and ``scale`` of the file; `None` where it has none.
        expected: The same of the result that was read from it.

    Raises:
        ValueError: If they differ by more than rounding.
    """
    if written["accuracy"] is not None and not _alike(written["accuracy"], expected["accuracy"]):
        raise ValueError("result.json contradicts itself: its accuracy is not that of its tasks")
    for name, value in (written["measures"] or {}).items():
        if name in expected["measures"] and not _alike([[value]], [[expected["measures"][name]]]):
            raise ValueError(f"result.json contradicts itself: its {name} does not follow from its tasks")
    for name in ("epochs", "fraction", "width"):
        value = (written["scale"] or {}).get(name, expected["scale"][name])
        if value != expected["scale"][name]:
            raise ValueError(f"result.json has {name} {value}, experiment.json {expected['scale'][name]}")


def _alike(some: Sequence[Row], others: Sequence[Row]) -> bool:
    """Whether two matrices are equal up to rounding."""
    pairs = [
        (nan if one is None else one, nan if other is None else other)
        for row, alike in zip(some, others, strict=False)
        for one, other in zip(row, alike, strict=False)
    ]
    return [len(row) for row in some] == [len(row) for row in others] and all(
        (isnan(one) and isnan(other)) or isclose(one, other, rel_tol=1e-6, abs_tol=1e-6) for one, other in pairs
    )
