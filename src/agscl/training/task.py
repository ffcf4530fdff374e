"""The loop of one task: train, validate, keep the best weights, lower the learning rate, stop."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from agscl.benchmarks.task import Batch, Task
from agscl.guard import Diverged

from .evaluation import LossAndAccuracy, answers, batch_loss, evaluate, require_examples
from .events import EpochFinished, RateLowered, emit
from .joint import joined_logits
from .learner import Learner
from .progress import Lesson


def learn_task(learner: Learner, task: Task, index: int) -> int:
    """Train the current task and leave the model with the weights of the lowest validation loss.

    A fresh optimizer for the task; its state is kept when the learning rate falls. The validation loss is the
    plain task loss, whatever the method.

    Returns:
        Number of epochs trained.

    Raises:
        ValueError: If a part of the task is empty or a label has no output.
        Diverged: If the loss or a gradient is not finite, and the training says to stop then.
    """
    lesson = Lesson(learner, task, index)
    train(lesson)
    return lesson.epoch


def train(lesson: Lesson) -> None:
    """Go through a lesson from where it stands to its end; raises as `learn_task` does."""
    require_examples(lesson.task.train, lesson.index)
    while not lesson.finished_training:
        try:
            with _attached(lesson):
                _epochs(lesson)
        except Diverged as error:
            _retreat(lesson, error)
    lesson.learner.model.load_state_dict(lesson.best)


def _attached(lesson: Lesson) -> AbstractContextManager[None]:
    learner = lesson.learner
    return learner.guard.attach(lesson.optimizer, steps_per_epoch=lesson.steps_per_epoch, live=learner.live)


def _epochs(lesson: Lesson) -> None:
    learner = lesson.learner
    while not lesson.finished_training:
        lesson.prepare_retreat()
        _train_epoch(lesson)
        _require_finite_weights(lesson)
        validation = evaluate(
            learner.model, lesson.task.validation, lesson.index, joint=learner.joint, machine=learner.machine
        )
        _require_finite(validation.loss, "validation loss")
        training_loss, learning_rate = lesson.loss / len(lesson.task.train), lesson.plateau.learning_rate
        seconds = lesson.end_epoch(validation.loss)
        emit(learner.sinks, _event(lesson, training_loss, validation, learning_rate, seconds))


def _train_epoch(lesson: Lesson) -> None:
    """One pass over the training examples, or what is left of it."""
    lesson.learner.model.train()
    for batch in lesson.remaining():
        lesson.loss += _step(lesson, batch) * len(batch[1])
        lesson.batches += 1
        if lesson.learner.keeper is not None:
            lesson.learner.keeper.after_step(lesson)


def _step(lesson: Lesson, batch: Batch) -> float:
    lesson.optimizer.zero_grad()
    with lesson.learner.machine.autocast():
        loss = _loss(lesson, batch)
    value = loss.item()
    _require_finite(value, "loss")
    torch.autograd.backward(lesson.scaler.scale(loss))
    lesson.scaler.step(lesson.optimizer)
    lesson.scaler.update()
    return value


def _loss(lesson: Lesson, batch: Batch) -> Tensor:
    """The task's loss, and what the method adds to it."""
    learner, model = lesson.learner, lesson.learner.model
    if not learner.guard.has_extra_loss:
        return batch_loss(answers(model, batch, lesson.index, joint=learner.joint), batch[1])
    outputs = model(batch[0])
    logits = joined_logits(outputs[: lesson.index + 1], batch[1]) if learner.joint else outputs[lesson.index]
    loss = batch_loss(logits, batch[1])
    extra = learner.guard.extra_loss(batch, lambda given: outputs if torch.is_grad_enabled() else model(given[0]))
    return loss if extra is None else loss + extra


def _retreat(lesson: Lesson, error: Diverged) -> None:
    """Go back to the start of the epoch with a lower learning rate, or give up."""
    learner, task = lesson.learner, f"task {lesson.task.name!r} diverged in epoch {lesson.epoch + 1}"
    if learner.training.on_divergence == "stop":
        saved = learner.keeper and learner.keeper.folder.latest()
        where = f" (last checkpoint: {saved})" if saved else ""
        advice = "lower the learning rate or the penalty, or use --on-divergence restore"
        raise Diverged(f"{task}, step {lesson.batches + 1}: {error}; {advice}{where}") from error
    lesson.retreat()
    if lesson.plateau.finished(learner.training):
        raise Diverged(f"{task} even at the lowest learning rate: {error}; lower the penalty") from error
    emit(learner.sinks, RateLowered(lesson.index, lesson.epoch + 1, str(error), lesson.plateau.learning_rate))


def _require_finite(value: float, what: str) -> None:
    if not math.isfinite(value):
        raise Diverged(f"the {what} became {value}")


def _require_finite_weights(lesson: Lesson) -> None:
    weights = [parameter.detach() for parameter in lesson.learner.model.parameters()]
    _require_finite(torch.stack(torch._foreach_norm(weights)).sum().item(), "norm of the weights")


def _event(
    lesson: Lesson, training_loss: float, validation: LossAndAccuracy, learning_rate: float, seconds: float
) -> EpochFinished:
    return EpochFinished(
        task=lesson.index,
        epoch=lesson.epoch,
        training_loss=training_loss,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
        learning_rate=learning_rate,
        seconds=seconds,
        steps=lesson.steps_per_epoch,
    )
