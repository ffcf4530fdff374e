"""The loop of one task: train, validate, keep the best weights, lower the learning rate, stop."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from agscl.benchmarks.task import Batch
from agscl.guard import Diverged
from agscl.runs.events import emit

from .evaluation import answers, batch_loss, evaluate, require_examples
from .events import EpochFinished, RateLowered
from .joint import joined_logits
from .progress import TaskProgress
from .saving import require_finite, rollback, save, set_rollback_point


def train(progress: TaskProgress) -> None:
    """Train a task from its progress to its end and leave the model with the weights of the lowest validation loss.

    The optimizer's state is kept when the learning rate falls. The validation loss is the plain task loss, whatever
    the method.

    Raises:
        ValueError: If a part of the task is empty or a label has no output.
        Diverged: If the loss or a gradient is not finite, and the training says to stop then.
    """
    learner = progress.learner
    require_examples(progress.task.train, progress.index)
    while not progress.finished_training:
        try:
            with learner.guard.attach(progress.optimizer, steps_per_epoch=progress.steps_per_epoch, live=learner.live):
                while not progress.finished_training:
                    set_rollback_point(progress)
                    _train_epoch(progress)
                    _end_epoch(progress)
        except Diverged as error:
            _go_back(progress, error)
    learner.model.load_state_dict(progress.best)


def _train_epoch(progress: TaskProgress) -> None:
    """One pass over the training examples, or what is left of it.

    A device other than the CPU is not waited for: losses are added up there and looked at when the epoch ends.
    """
    learner, saved = progress.learner, partial(save, progress)
    learner.model.train()
    for batch in progress.remaining():
        progress.optimizer.zero_grad()
        with learner.machine.autocast():
            loss = _loss(progress, batch)
        if learner.machine.answers_at_once:
            require_finite(loss.item(), "loss")
        torch.autograd.backward(progress.scaler.scale(loss))
        progress.scaler.step(progress.optimizer)
        progress.scaler.update()
        progress.loss += loss.detach().double() * len(batch[1])
        progress.batches += 1
        if learner.checkpointer is not None:
            learner.checkpointer.after_step(saved)


def _loss(progress: TaskProgress, batch: Batch) -> Tensor:
    """The task's loss, and what the method adds to it; where the host would wait, labels are checked once."""
    learner, model, index = progress.learner, progress.learner.model, progress.index
    checked = learner.machine.answers_at_once or progress.epoch == 0
    if not learner.guard.has_extra_loss:
        return batch_loss(answers(model, batch, index, joint=learner.joint), batch[1], checked=checked)
    outputs = model(batch[0])
    logits = joined_logits(outputs[: index + 1], batch[1]) if learner.joint else outputs[index]
    loss = batch_loss(logits, batch[1], checked=checked)
    extra = learner.guard.extra_loss(batch, lambda given: outputs if torch.is_grad_enabled() else model(given[0]))
    return loss if extra is None else loss + extra


def _end_epoch(progress: TaskProgress) -> None:
    """Validate, and draw the consequences; with averages of the weights, where the method keeps some."""
    learner, task = progress.learner, progress.task
    weights = [parameter.detach() for parameter in learner.model.parameters()]
    require_finite(torch.stack(torch._foreach_norm(weights)).sum().item(), "norm of the weights")
    training_loss = require_finite(float(progress.loss), "loss") / len(task.train)
    learning_rate, index, joint = progress.plateau.learning_rate, progress.index, learner.joint
    with learner.guard.averaged():
        validation = evaluate(learner.model, task.validation, index, joint=joint, machine=learner.machine)
        require_finite(validation.loss, "validation loss")
        seconds = progress.end_epoch(validation.loss)
    event = EpochFinished(
        task=index,
        epoch=progress.epoch,
        training_loss=training_loss,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
        learning_rate=learning_rate,
        seconds=seconds,
        steps=progress.steps_per_epoch,
    )
    emit(learner.loggers, event)


def _go_back(progress: TaskProgress, error: Diverged) -> None:
    """Go back to the start of the epoch with a lower learning rate, or give up."""
    learner, task = progress.learner, f"task {progress.task.name!r} diverged in epoch {progress.epoch + 1}"
    if learner.training.on_divergence == "stop":
        newest = learner.checkpointer and learner.checkpointer.checkpoints.latest()
        where = f" (last checkpoint: {newest})" if newest else ""
        advice = "lower the learning rate or the penalty, or use --on-divergence restore"
        raise Diverged(f"{task}, step {progress.batches + 1}: {error}; {advice}{where}") from error
    rollback(progress)
    if progress.plateau.finished(learner.training):
        raise Diverged(f"{task} even at the lowest learning rate: {error}; lower the penalty") from error
    emit(learner.loggers, RateLowered(progress.index, progress.epoch + 1, str(error), progress.plateau.learning_rate))
