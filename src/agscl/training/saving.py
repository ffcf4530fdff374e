"""The codec of a task in training: its state as numbers and tensors, and back, for checkpoints and rollback."""

from __future__ import annotations

import math
import time

from agscl.guard import Diverged
from agscl.runs.checkpointer import RunState
from agscl.runs.random import capture, restore
from agscl.runs.tensors import load_optimizer, load_states, optimizer_tensors
from agscl.tensors import prefixed, under

from .history import SequenceProgress
from .progress import TaskProgress


def save(progress: TaskProgress) -> RunState[SequenceProgress]:
    """The state between two steps; its tensors are the model's own, not copies.

    Raises:
        Diverged: If the losses are not finite: such a state is not worth keeping.
    """
    loss = require_finite(float(progress.loss), "loss")
    learner, point, now = progress.learner, progress.rollback_point, time.perf_counter()
    numbers = SequenceProgress(
        finished=progress.finished,
        epoch=progress.epoch,
        batches=progress.batches,
        loss=loss,
        plateau=progress.plateau,
        seconds=now - progress.started,
        epoch_seconds=now - progress.epoch_started,
        scaler={name: float(value) for name, value in progress.scaler.state_dict().items()},
        rollback=point.progress if point else None,
    )
    tensors = prefixed(
        model=learner.model.state_dict(),
        guard=learner.guard.state_dict(),
        optimizer=optimizer_tensors(progress.optimizer),
        best=progress.best,
        before=progress.before,
        random=capture(learner.machine.device),
        order={"begun": progress.order, "now": learner.generator.get_state()},
        rollback=point.tensors if point else {},
    )
    return RunState(numbers, tensors)


def load(progress: TaskProgress, state: RunState[SequenceProgress]) -> None:
    """Put a progress on the same task into a saved state.

    Raises:
        ValueError: If it was saved by another model or method.
    """
    numbers, tensors, learner = state.progress, state.tensors, progress.learner
    complaint = "the checkpoint does not fit the run, choose a new folder"
    load_states(complaint, (learner.model, under("model", tensors)), (learner.guard, under("guard", tensors)))
    load_optimizer(progress.optimizer, under("optimizer", tensors))
    device = learner.machine.device
    progress.best, progress.before = (
        {name: tensor.to(device) for name, tensor in under(group, tensors).items()} for group in ("best", "before")
    )
    progress.finished, progress.plateau = numbers.finished, numbers.plateau
    progress.epoch, progress.batches, progress.loss = numbers.epoch, numbers.batches, numbers.loss
    progress.set_learning_rate()
    progress.scaler.load_state_dict(numbers.scaler)
    progress.rollback_point = RunState(numbers.rollback, under("rollback", tensors)) if numbers.rollback else None
    progress.order, progress.random = tensors["order.begun"], under("random", tensors)
    learner.generator.set_state(tensors["order.now"])
    restore(progress.random, device)
    now = time.perf_counter()
    progress.started, progress.epoch_started = now - numbers.seconds, now - numbers.epoch_seconds


def set_rollback_point(progress: TaskProgress) -> None:
    """Make the start of an epoch the state to go back to, if the settings say to go back there."""
    if progress.learner.training.on_divergence == "restore" and not progress.batches:
        progress.rollback_point = None  # a rollback point holds none itself
        now = save(progress)
        copies = {name: tensor.detach().clone() for name, tensor in now.tensors.items()}
        progress.rollback_point = RunState(now.progress, copies)


def rollback(progress: TaskProgress) -> None:
    """Go back to the start of the epoch, with a lower learning rate."""
    point = progress.rollback_point
    assert point is not None, "set_rollback_point() comes before every epoch"
    load(progress, point)
    progress.plateau = progress.plateau.lowered(progress.learner.training)
    progress.set_learning_rate()


def require_finite(value: float, what: str) -> float:
    """The value; raises `Diverged` if it is not finite."""
    if not math.isfinite(value):
        raise Diverged(f"the {what} became {value}")
    return value
