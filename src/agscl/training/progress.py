"""One task in training, as a state between any two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import islice

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Adam

from agscl.benchmarks.task import Batch, Task
from agscl.runs.checkpointer import RunState
from agscl.runs.random import restore

from .events import TaskFinished
from .history import SequenceProgress
from .learner import Learner
from .plateau import Plateau


class TaskProgress:
    """One task in training; it begins before the first step, with a fresh optimizer.

    `agscl.training.saving` saves it and loads it.

    Attributes:
        optimizer: Of the task alone.
        scaler: Scales the loss, for float16.
        plateau: State of the learning rate.
        epoch: Finished epochs.
        batches: Batches trained in the current epoch.
        loss: Sum of their losses over examples, float64; a tensor on the device once there is one.
        before: The model's state dict before the task.
        best: The model's state dict at the lowest validation loss.
        order: State of the learner's generator when the epoch began: it draws the order of the examples.
        random: States of the global generators after the last batch of a loaded epoch; empty in other epochs.
        rollback_point: The state to go back to if training diverges; `None` if the settings say to stop.
        started: When the task began, by `time.perf_counter`.
        epoch_started: When the epoch began.
    """

    def __init__(self, learner: Learner, task: Task, index: int, finished: tuple[TaskFinished, ...] = ()) -> None:
        self.learner, self.task, self.index, self.finished = learner, task, index, finished
        weights, rate = learner.model.parameters(), learner.training.learning_rate
        sgd = learner.training.optimizer == "sgd"
        self.optimizer = SGD(weights, rate, learner.training.momentum) if sgd else Adam(weights, rate)
        self.scaler = GradScaler(learner.machine.device.type, enabled=learner.machine.scales)
        self.plateau = Plateau(rate)
        self.epoch, self.batches = 0, 0
        self.loss: Tensor | float = 0.0
        self.before = self.best = snapshot(learner.model)
        self.order, self.random = learner.generator.get_state(), dict[str, Tensor]()
        self.rollback_point: RunState[SequenceProgress] | None = None
        self.started = self.epoch_started = time.perf_counter()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return math.ceil(len(self.task.train) / self.learner.training.batch_size)

    @property
    def finished_training(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch >= self.learner.training.epochs or self.plateau.finished(self.learner.training)

    @property
    def seconds(self) -> float:
        """Spent on the task so far."""
        return time.perf_counter() - self.started

    def remaining(self) -> Iterator[Batch]:
        """The batches of the current epoch that are still to be trained, on the device.

        In a loaded epoch the order is drawn again, the batches trained before are skipped, and whatever the global
        generators draw meanwhile is undone.
        """
        learner = self.learner
        if self.batches:
            learner.generator.set_state(self.order)
        else:
            self.order, self.epoch_started = learner.generator.get_state(), time.perf_counter()
        batches = self.task.train.batches(learner.training.batch_size, generator=learner.generator)
        for _ in islice(batches, self.batches):
            pass
        if self.batches:
            restore(self.random, learner.machine.device)
        return map(learner.machine.place, batches)

    def end_epoch(self, validation_loss: float) -> float:
        """Keep the best weights, set the learning rate of the next epoch; returns the epoch's duration in seconds."""
        if settled := self.learner.guard.settled:
            self.plateau = self.plateau.after(validation_loss, self.learner.training)
        if self.plateau.improved or not settled:
            self.best = snapshot(self.learner.model)
        self.set_learning_rate()
        self.epoch, self.batches, self.loss = self.epoch + 1, 0, 0.0
        return time.perf_counter() - self.epoch_started

    def set_learning_rate(self) -> None:
        """Give the optimizer the learning rate of the plateau."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plateau.learning_rate


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state dict."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
