"""The loop of one task: train, validate, keep the best weights, lower the learning rate, stop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from agscl.benchmarks.task import Batch, Task

from .evaluation import Evaluation, answers, batch_loss, evaluate, require_examples
from .events import EpochFinished, emit
from .joint import joined_logits
from .learner import Learner
from .plateau import Plateau
from .settings import Training


def learn_task(learner: Learner, task: Task, index: int) -> int:
    """Train the current task and leave the model with the weights of the lowest validation loss.

    A fresh optimizer for the task; its state is kept when the learning rate falls. The validation loss is the
    plain task loss, whatever the method.

    Returns:
        Number of epochs trained.

    Raises:
        ValueError: If a part of the task is empty, a label has no output, or the loss is not finite.
    """
    require_examples(task.train, index)
    training, model = learner.training, learner.model
    lesson = _Lesson(learner, _optimizer(model, training), task, index)
    plateau, best, epoch = Plateau(training.learning_rate), snapshot(model), 0
    with learner.guard.attach(lesson.optimizer, steps_per_epoch=math.ceil(len(task.train) / training.batch_size)):
        while epoch < training.epochs and not plateau.finished(training):
            epoch += 1
            plateau = _epoch(lesson, epoch, plateau)
            best = snapshot(model) if plateau.improved else best
            _set_learning_rate(lesson.optimizer, plateau.learning_rate)
        model.load_state_dict(best)
    return epoch


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state dict."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class _Lesson:
    """One task in training: what every step needs."""

    learner: Learner
    optimizer: Optimizer
    task: Task
    index: int


def _epoch(lesson: _Lesson, epoch: int, plateau: Plateau) -> Plateau:
    start = time.perf_counter()
    training_loss = _train(lesson)
    joint = lesson.learner.joint
    learner, task = lesson.learner, lesson.task
    validation = evaluate(learner.model, task.validation, lesson.index, joint=joint, machine=learner.machine)
    _require_finite(validation.loss, lesson.task)
    event = _event(lesson.index, epoch, training_loss, validation, plateau.learning_rate, start)
    emit(lesson.learner.sinks, event)
    return plateau.after(validation.loss, lesson.learner.training)


def _train(lesson: _Lesson) -> float:
    """One pass over the training examples; returns the mean loss."""
    learner, examples, total = lesson.learner, lesson.task.train, 0.0
    learner.model.train()
    for batch in map(learner.machine.place, examples.batches(learner.training.batch_size, generator=learner.generator)):
        total += _step(lesson, batch) * len(batch[1])
    return total / len(examples)


def _step(lesson: _Lesson, batch: Batch) -> float:
    lesson.optimizer.zero_grad()
    with lesson.learner.machine.autocast():
        loss = _loss(lesson, batch)
    _require_finite(loss.item(), lesson.task)
    torch.autograd.backward(loss)
    lesson.optimizer.step()
    return loss.item()


def _loss(lesson: _Lesson, batch: Batch) -> Tensor:
    """The task's loss, and what the method adds to it."""
    learner, model = lesson.learner, lesson.learner.model
    if not learner.guard.has_extra_loss:
        return batch_loss(answers(model, batch, lesson.index, joint=learner.joint), batch[1])
    outputs = model(batch[0])
    logits = joined_logits(outputs[: lesson.index + 1], batch[1]) if learner.joint else outputs[lesson.index]
    loss = batch_loss(logits, batch[1])
    extra = learner.guard.extra_loss(batch, lambda given: outputs if torch.is_grad_enabled() else model(given[0]))
    return loss if extra is None else loss + extra


def _optimizer(model: nn.Module, training: Training) -> Optimizer:
    if training.optimizer == "sgd":
        return SGD(model.parameters(), lr=training.learning_rate, momentum=training.momentum)
    return Adam(model.parameters(), lr=training.learning_rate)


def _set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def _require_finite(loss: float, task: Task) -> None:
    if not math.isfinite(loss):
        raise ValueError(f"the loss of task {task.name!r} became {loss}: lower the learning rate or the penalty")


def _event(
    index: int, epoch: int, training_loss: float, validation: Evaluation, learning_rate: float, start: float
) -> EpochFinished:
    return EpochFinished(
        task=index,
        epoch=epoch,
        training_loss=training_loss,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
        learning_rate=learning_rate,
        seconds=time.perf_counter() - start,
    )
