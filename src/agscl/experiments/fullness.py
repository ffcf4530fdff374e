"""How full the network of a run was after each task: in its record, and in words since when nothing has been free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from agscl.metrics import LayerCapacity, full_since
from agscl.rl.history import PolicyTaskFinished
from agscl.training import TaskFinished

from .kind import AnyResult
from .words import seeds

SHOWN = 3
"""Most layers that are named."""


Finished = TypeVar("Finished", TaskFinished, PolicyTaskFinished)

ByTask = tuple[tuple[LayerCapacity, ...] | None, ...]
"""How full each layer was after each task."""


def content_of(tasks: Sequence[TaskFinished | PolicyTaskFinished]) -> dict[str, Any]:
    """What ``result.json`` holds of finished tasks; how full layers were stands beside, as older records lack it."""
    written = [asdict(task) for task in tasks]
    capacity = [task.pop("capacity") for task in written]
    return {"tasks": written, "capacity": capacity if any(each is not None for each in capacity) else None}


def tasks_of(tasks: Sequence[Finished], capacity: ByTask | None) -> list[Finished]:
    """Finished tasks from what `content_of` wrote.

    Raises:
        ValueError: If there are more or fewer of one than of the other.
    """
    if capacity is None:
        return list(tasks)
    if len(capacity) != len(tasks):
        raise ValueError(f"result.json: capacity is that of {len(capacity)} tasks, and there are {len(tasks)}")
    return [replace(task, capacity=layers) for task, layers in zip(tasks, capacity, strict=True)]


def fullness(tasks: Sequence[TaskFinished | PolicyTaskFinished]) -> list[str]:
    """What there is to say about how full a network became: nothing, or a sentence or two.

    Records of older versions have no numbers by layer; then it is said whether all nodes are taken.

    >>> nothing = dict(epochs=1, accuracy=(), used_capacity=None, memory_bytes=0, regularization_bytes=0, seconds=0.0)
    >>> fullness([TaskFinished(n, "x", sparsity=free, **nothing) for n, free in enumerate((0.5, 0.0, 0.0))])
    ['no free node since task 2']
    """
    known = [task.capacity for task in tasks if task.capacity is not None]
    if not tasks or len(known) < len(tasks):
        taken = [position for position, task in enumerate(tasks, 1) if task.sparsity != 0]
        since = max(taken, default=0) + 1
        return [f"no free node since task {since}"] if since <= len(tasks) else []
    said, since_when, layers = [], full_since(known), known[-1]
    unit = layers[0].unit.removesuffix("s") if layers else "node"
    if layers and len(since_when) == len(layers):
        said.append(f"no free {unit} since task {max(since_when.values()) + 1}")
    elif since_when:
        parts = [f"{name} since task {task + 1}" for name, task in sorted(since_when.items(), key=lambda pair: pair[1])]
        more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
        said.append(f"no free {unit} in {', '.join(parts[:SHOWN])}{more} ({len(parts)} of {len(layers)} layers)")
    for position, capacity in enumerate(known, 1):
        if idle := [layer.name for layer in capacity if layer.idle]:
            more = ", ..." if len(idle) > SHOWN else ""
            said.append(f"no node of {', '.join(idle[:SHOWN])}{more} was active in task {position}")
    return said


def fullness_of(results: Sequence[AnyResult]) -> list[str]:
    """A line for each method and finding, with the seeds that have it."""
    found: dict[tuple[str, str], list[int]] = {}
    for result in results:
        for text in fullness(result.history.tasks):
            found.setdefault((result.method, text), []).append(result.experiment.seed)
    return [f"{method}: {text} ({seeds(numbers)})" for (method, text), numbers in found.items()]
