"""The sequence: learn a task, consolidate it, evaluate all tasks so far, go on with the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from agscl.benchmarks.task import Batch, Examples, Task, TaskSequence
from agscl.metrics import sparsity, used_capacity

from .evaluation import evaluate
from .events import Resumed, TaskFinished, TaskStarted, emit
from .history import History
from .joint import join
from .keeper import Keeper
from .learner import Learner
from .progress import Lesson, Saved
from .task import train


def learn_sequence(learner: Learner, sequence: TaskSequence) -> History:
    """Learn all tasks in order, from where the learner's keeper says that it stands.

    Raises:
        ValueError: If a task cannot be learned, see `learn_task`.
    """
    saved = learner.keeper.resume() if learner.keeper else None
    finished = saved.progress.finished if saved else ()
    for index in range(len(finished), len(sequence.tasks)):
        lesson = _lesson(learner, sequence, finished, saved)
        finished, saved = (*finished, _learn(lesson, sequence.tasks[: index + 1])), None
    return History(finished)


def _lesson(
    learner: Learner, sequence: TaskSequence, finished: tuple[TaskFinished, ...], saved: Saved | None
) -> Lesson:
    """The lesson after the finished ones, from its start or from where it was saved."""
    index, count = len(finished), len(sequence.tasks)
    task = sequence.tasks[index]
    learner.guard.use_task(index)
    lesson = Lesson(learner, join(sequence.tasks[: index + 1]) if learner.joint else task, index, finished)
    if saved is None:
        emit(learner.sinks, TaskStarted(index, task.name, count, learner.training.epochs))
    else:
        lesson.load(saved)
        emit(learner.sinks, Resumed(index, task.name, count, learner.training.epochs, lesson.epoch))
    return lesson


def _learn(lesson: Lesson, tasks: tuple[Task, ...]) -> TaskFinished:
    """Learn the last of the tasks; all of them are evaluated."""
    learner, index, task = lesson.learner, lesson.index, tasks[-1]
    train(lesson)
    used = _used_capacity(learner, lesson.before) if index else None
    _consolidate(learner, task, index)
    event = TaskFinished(
        task=index,
        name=task.name,
        epochs=lesson.epoch,
        accuracy=_accuracies(learner, tasks),
        sparsity=sparsity(learner.guard.importance) if learner.guard.importance else None,
        used_capacity=used,
        memory_bytes=learner.guard.memory_bytes(),
        regularization_bytes=learner.guard.memory_bytes(regularization_only=True),
        seconds=lesson.seconds,
    )
    emit(learner.sinks, event)
    return event


def _used_capacity(learner: Learner, before: Mapping[str, Tensor]) -> float:
    return used_capacity(learner.guard.graph.layers, before, learner.model.state_dict())


def _consolidate(learner: Learner, task: Task, index: int) -> None:
    def predict(batch: Batch) -> Tensor:
        logits: Tensor = learner.model(learner.machine.place(batch)[0], index)
        return logits

    size = -(-learner.training.batch_size // 2)  # a per-sample pass holds gradients beside activations: half as many
    learner.guard.consolidate(_Batches(task.train, size, learner.keeper), predict)


@dataclass(frozen=True)
class _Batches:
    """A set of examples as an iterable that can be read many times."""

    examples: Examples
    batch_size: int
    keeper: Keeper | None

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.examples.batches(self.batch_size):
            if self.keeper is not None:
                self.keeper.check()
            yield batch


def _accuracies(learner: Learner, tasks: tuple[Task, ...]) -> tuple[float, ...]:
    """Test accuracy on each task, each with what the method keeps for it."""
    return tuple(_accuracy(learner, task, index) for index, task in enumerate(tasks))


def _accuracy(learner: Learner, task: Task, index: int) -> float:
    learner.guard.use_task(index)
    return evaluate(learner.model, task.test, index, machine=learner.machine).accuracy
