"""The sequence: learn a task, consolidate it, evaluate all tasks so far, go on with the next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from agscl.benchmarks.task import Batch, Examples, Task, TaskSequence
from agscl.metrics import sparsity, used_capacity

from .evaluation import EVALUATION_BATCH, evaluate
from .events import TaskFinished, TaskStarted, emit
from .history import History
from .joint import join
from .learner import Learner
from .task import learn_task, snapshot


def learn_sequence(learner: Learner, sequence: TaskSequence) -> History:
    """Learn all tasks in order.

    Raises:
        ValueError: If a task cannot be learned, see `learn_task`.
    """
    return History(tuple(_learn(learner, sequence, index) for index in range(len(sequence.tasks))))


def _learn(learner: Learner, sequence: TaskSequence, index: int) -> TaskFinished:
    task, start = sequence.tasks[index], time.perf_counter()
    emit(learner.sinks, TaskStarted(index, task.name, len(sequence.tasks), learner.training.epochs))
    before = snapshot(learner.model)
    learner.guard.use_task(index)
    epochs = learn_task(learner, join(sequence.tasks[: index + 1]) if learner.joint else task, index)
    used = _used_capacity(learner, before) if index else None
    _consolidate(learner, task, index)
    event = TaskFinished(
        task=index,
        name=task.name,
        epochs=epochs,
        accuracy=_accuracies(learner, sequence.tasks[: index + 1]),
        sparsity=sparsity(learner.guard.importance) if learner.guard.importance else None,
        used_capacity=used,
        memory_bytes=learner.guard.memory_bytes(),
        regularization_bytes=learner.guard.memory_bytes(regularization_only=True),
        seconds=time.perf_counter() - start,
    )
    emit(learner.sinks, event)
    return event


def _used_capacity(learner: Learner, before: dict[str, Tensor]) -> float:
    return used_capacity(learner.guard.graph.layers, before, learner.model.state_dict())


def _consolidate(learner: Learner, task: Task, index: int) -> None:
    def predict(batch: Batch) -> Tensor:
        logits: Tensor = learner.model(learner.machine.place(batch)[0], index)
        return logits

    learner.guard.consolidate(_Batches(task.train), predict)


@dataclass(frozen=True)
class _Batches:
    """A set of examples as an iterable that can be read many times."""

    examples: Examples

    def __iter__(self) -> Iterator[Batch]:
        return self.examples.batches(EVALUATION_BATCH)


def _accuracies(learner: Learner, tasks: tuple[Task, ...]) -> tuple[float, ...]:
    """Test accuracy on each task, each with what the method keeps for it."""
    return tuple(_accuracy(learner, task, index) for index, task in enumerate(tasks))


def _accuracy(learner: Learner, task: Task, index: int) -> float:
    learner.guard.use_task(index)
    return evaluate(learner.model, task.test, index, machine=learner.machine).accuracy
