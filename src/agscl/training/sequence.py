"""The sequence: learn a task, consolidate it, evaluate all tasks so far, go on with the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from agscl.benchmarks.task import Batch, Examples, Task, TaskSequence
from agscl.guard.footprint import footprint
from agscl.metrics import used_capacity
from agscl.runs.checkpointer import Checkpointer
from agscl.runs.events import emit

from .evaluation import evaluate
from .events import Resumed, TaskFinished, TaskStarted
from .history import History, SequenceProgress
from .joint import join
from .learner import Learner
from .progress import TaskProgress
from .saving import load
from .task import train


def learn_sequence(learner: Learner, sequence: TaskSequence) -> History:
    """Learn all tasks in order, from the newest checkpoint of the learner's checkpointer if there is one.

    Raises:
        ValueError: If a task cannot be learned, see `train`.
    """
    saved = learner.checkpointer.resume() if learner.checkpointer else None
    finished = saved.progress.finished if saved else ()
    epochs, count = learner.training.epochs, len(sequence.tasks)
    for index in range(len(finished), count):
        tasks, name = sequence.tasks[: index + 1], sequence.tasks[index].name
        learner.guard.use_task(index)
        progress = TaskProgress(learner, join(tasks) if learner.joint else tasks[-1], index, finished)
        if saved is None:
            emit(learner.loggers, TaskStarted(index, name, count, epochs))
        else:
            load(progress, saved)
            emit(learner.loggers, Resumed(index, name, count, epochs, progress.epoch))
        finished, saved = (*finished, _learn(progress, tasks)), None
    return History(finished)


def _learn(progress: TaskProgress, tasks: tuple[Task, ...]) -> TaskFinished:
    """Learn the last of the tasks; all of them are evaluated."""
    learner, index, task = progress.learner, progress.index, tasks[-1]
    train(progress)
    layers, after = learner.guard.graph.layers, learner.model.state_dict()
    used = used_capacity(layers, progress.before, after) if index else None

    rounds = learner.guard.rounds and learner.machine.dtype == torch.bfloat16

    def predict(batch: Batch) -> Tensor:
        with learner.machine.autocast() if rounds else nullcontext():
            logits: Tensor = learner.model(learner.machine.place(batch)[0], index)
        return logits

    size = -(-learner.training.batch_size // 2)  # a per-sample pass holds gradients beside activations: half as many
    learner.guard.consolidate(_Batches(task.train, size, learner.checkpointer), predict)
    accuracy, validation = [], []
    for number, each in enumerate(tasks):
        learner.guard.use_task(number)  # with what the method keeps for it
        found = evaluate(learner.model, each.validation, number, machine=learner.machine).accuracy
        validation.append(found)
        if each.test is not each.validation:
            found = evaluate(learner.model, each.test, number, machine=learner.machine).accuracy
        accuracy.append(found)
    event = TaskFinished(
        task=index,
        name=task.name,
        epochs=progress.epoch,
        accuracy=tuple(accuracy),
        validation=tuple(validation),
        used_capacity=used,
        **footprint(learner.guard),
        seconds=progress.seconds,
    )
    emit(learner.loggers, event)
    return event


@dataclass(frozen=True)
class _Batches:
    """A set of examples as an iterable that can be read many times, until a signal asks for the end."""

    examples: Examples
    batch_size: int
    checkpointer: Checkpointer[SequenceProgress] | None

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.examples.batches(self.batch_size):
            if self.checkpointer is not None:
                self.checkpointer.check()
            yield batch
