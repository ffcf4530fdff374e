"""A sequence of policies in numbers: its events, for whoever wants to watch or record, and its history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from agscl.metrics import LayerCapacity


@dataclass(frozen=True)
class PolicyTaskStarted:
    """Training of a task begins, or goes on after a `PolicyResumed`.

    Attributes:
        task: Position in the sequence, from 0.
        name: Name of the task.
        tasks: Number of tasks in the sequence.
        updates: Updates it takes.
    """

    event: ClassVar[str] = "TaskStarted"

    task: int
    name: str
    tasks: int
    updates: int


@dataclass(frozen=True)
class Updated:
    """A rollout was collected and learned from.

    Attributes:
        task: Position in the sequence, from 0.
        update: From 1.
        time: Agent steps so far, over all tasks.
    """

    event: ClassVar[str] = "Updated"

    task: int
    update: int
    time: int


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one task.

    Attributes:
        time: Agent steps trained until then, over all tasks.
        training: The task that was being learned, or had just been.
        after: Index of the last task learned and consolidated, from 0; -1 for none.
        task: The task that was evaluated.
        name: Its name.
        score: Mean raw score of an episode.
        deviation: Standard deviation of the scores; 0 for one episode.
        episodes: How many were played.
        capped: How many of them were cut off.
    """

    event: ClassVar[str] = "Evaluation"

    time: int
    training: int
    after: int
    task: int
    name: str
    score: float
    deviation: float
    episodes: int
    capped: int


@dataclass(frozen=True)
class PolicyTaskFinished:
    """A task is learned and consolidated, and evaluated.

    Attributes:
        task: Position in the sequence, from 0.
        name: Name of the task.
        steps: Agent steps it was trained for.
        sparsity: Share of nodes that are free; `None` if the method does not rate nodes.
        memory_bytes: All that the method keeps.
        regularization_bytes: Its regularization parameters alone.
        training_seconds: Wall time of rollouts and updates, evaluations aside.
        seconds: Wall time of everything.
        capacity: How full each layer is; `None` if the method has no notion of it, or the record is older.
    """

    event: ClassVar[str] = "TaskFinished"

    task: int
    name: str
    steps: int
    sparsity: float | None
    memory_bytes: int
    regularization_bytes: int
    training_seconds: float
    seconds: float
    capacity: tuple[LayerCapacity, ...] | None = None


@dataclass(frozen=True)
class PolicyResumed:
    """A run was resumed.

    Attributes:
        task: The task being learned.
        updates: Updates of that task that were done.
    """

    event: ClassVar[str] = "Resumed"

    task: int
    updates: int


PolicyEvent = PolicyTaskStarted | Updated | Evaluation | PolicyTaskFinished | PolicyResumed


@dataclass
class PolicyHistory:
    """All evaluations and finished tasks of a sequence, and the progress of the task that is being learned.

    Attributes:
        random_scores: Of a uniformly random policy on each task.
        tasks: Those learned.
        evaluations: In the order in which they were made.
        resumed: Where the run was resumed and its environments, whose state cannot be kept, began new episodes.
        updates: Updates of the present task that are done.
        evaluation_seconds: Wall time of the present task's evaluations.
        seconds: Wall time of the present task until the last checkpoint.
    """

    random_scores: list[float] = field(default_factory=list)
    tasks: list[PolicyTaskFinished] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    resumed: list[PolicyResumed] = field(default_factory=list)
    updates: int = 0
    evaluation_seconds: float = 0.0
    seconds: float = 0.0
