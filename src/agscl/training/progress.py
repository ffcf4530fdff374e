"""One task in training, as a value that can be saved between any two steps and go on exactly from there."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Adam, Optimizer

from agscl.benchmarks.task import Batch, Task
from agscl.runs.random import capture, restore

from .events import TaskFinished
from .learner import Learner
from .plateau import Plateau
from .settings import Training


@dataclass(frozen=True)
class Progress:
    """Where a sequence stands, in numbers.

    Attributes:
        finished: Tasks learned so far.
        epoch: Finished epochs of the current task.
        batches: Batches trained in its current epoch.
        loss: Sum of their losses over examples.
        plateau: Where the learning rate stands.
        seconds: Spent on the current task so far.
        epoch_seconds: Of those, on its current epoch.
        scaler: State of the gradient scaler, for float16.
        retreat: Where to go back to if training diverges, if that is wanted.
    """

    finished: tuple[TaskFinished, ...]
    epoch: int
    batches: int
    loss: float
    plateau: Plateau
    seconds: float
    epoch_seconds: float
    scaler: dict[str, float]
    retreat: Progress | None = None


@dataclass(frozen=True)
class Saved:
    """All that it takes to go on: numbers and tensors."""

    progress: Progress
    tensors: Mapping[str, Tensor]


@dataclass
class Lesson:
    """One task in training.

    Attributes:
        learner: Who learns.
        task: What is learned.
        index: Position of the task in the sequence.
        finished: Tasks learned before.
        plateau: Where the learning rate stands.
        epoch: Finished epochs.
        batches: Batches trained in the current epoch.
        loss: Sum of their losses over examples.
    """

    learner: Learner
    task: Task
    index: int
    finished: tuple[TaskFinished, ...] = ()
    plateau: Plateau = field(init=False)
    epoch: int = 0
    batches: int = 0
    loss: float = 0.0

    def __post_init__(self) -> None:
        """Stand before the first step, with a fresh optimizer."""
        self.optimizer = _optimizer(self.learner.model, self.learner.training)
        self.scaler = GradScaler(self.learner.machine.device.type, enabled=self.learner.machine.scales)
        self.plateau = Plateau(self.learner.training.learning_rate)
        self.before = self.best = snapshot(self.learner.model)
        self._order = self.learner.generator.get_state()
        self._random: Mapping[str, Tensor] | None = None
        self._retreat: Saved | None = None
        self._start = self._epoch_start = time.perf_counter()

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
        return time.perf_counter() - self._start

    def remaining(self) -> Iterator[Batch]:
        """The batches of the current epoch that are still to be trained, on the device."""
        learner = self.learner
        if self.batches:
            learner.generator.set_state(self._order)
        else:
            self._order, self._epoch_start = learner.generator.get_state(), time.perf_counter()
        batches = self.task.train.batches(learner.training.batch_size, generator=learner.generator)
        for _ in islice(batches, self.batches):
            pass
        if self._random is not None and self.batches:
            restore(self._random, learner.machine.device)
        self._random = None
        return map(learner.machine.place, batches)

    def end_epoch(self, validation_loss: float) -> float:
        """Draw the consequences of an epoch's validation loss; returns the epoch's duration in seconds."""
        self.plateau = self.plateau.after(validation_loss, self.learner.training)
        self.best = snapshot(self.learner.model) if self.plateau.improved else self.best
        self.set_learning_rate()
        self.epoch, self.batches, self.loss = self.epoch + 1, 0, 0.0
        return time.perf_counter() - self._epoch_start

    def set_learning_rate(self) -> None:
        """Give the optimizer the learning rate of the plateau."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plateau.learning_rate

    def save(self) -> Saved:
        """Where the lesson stands; call it between steps."""
        now = time.perf_counter()
        scaler = {name: float(value) for name, value in self.scaler.state_dict().items()}
        progress = Progress(
            finished=self.finished,
            epoch=self.epoch,
            batches=self.batches,
            loss=self.loss,
            plateau=self.plateau,
            seconds=now - self._start,
            epoch_seconds=now - self._epoch_start,
            scaler=scaler,
            retreat=None if self._retreat is None else self._retreat.progress,
        )
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.learner.model.state_dict(),
            "guard": self.learner.guard.state_dict(),
            "best": self.best,
            "before": self.before,
            "optimizer": _flat(self.optimizer),
            "random": {**capture(self.learner.machine.device), "order": self._order},
            "order": {"now": self.learner.generator.get_state()},
            "retreat": self._retreat.tensors if self._retreat else {},
        }
        return Saved(progress, {f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()})

    def prepare_retreat(self) -> None:
        """Remember the start of an epoch, if the training wants to go back there when it diverges."""
        if self.learner.training.on_divergence == "restore" and not self.batches:
            self._retreat = None
            saved = self.save()
            self._retreat = Saved(saved.progress, {name: t.detach().clone() for name, t in saved.tensors.items()})

    def retreat(self) -> None:
        """Go back to the start of the epoch, with a lower learning rate."""
        if self._retreat is None:
            raise AssertionError("prepare_retreat() comes before every epoch")
        self.load(self._retreat)
        self.plateau = self.plateau.lowered(self.learner.training)
        self.set_learning_rate()

    def load(self, saved: Saved) -> None:
        """Stand where a lesson on the same task stood.

        Raises:
            ValueError: If it was saved by another model or method.
        """
        progress, learner = saved.progress, self.learner
        try:
            learner.model.load_state_dict(_part(saved, "model"))
            learner.guard.load_state_dict(_part(saved, "guard"))
            _unflatten(self.optimizer, _part(saved, "optimizer"))
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"the checkpoint belongs to another model: {error}") from error
        self.best, self.before = _part(saved, "best"), _part(saved, "before")
        self.epoch, self.batches, self.loss = progress.epoch, progress.batches, progress.loss
        self.finished, self.plateau = progress.finished, progress.plateau
        self.scaler.load_state_dict(progress.scaler)
        self.set_learning_rate()
        self._random = _part(saved, "random")
        self._order = self._random["order"]
        self._retreat = None if progress.retreat is None else Saved(progress.retreat, _part(saved, "retreat"))
        learner.generator.set_state(_part(saved, "order")["now"])
        restore(self._random, learner.machine.device)
        now = time.perf_counter()
        self._start, self._epoch_start = now - progress.seconds, now - progress.epoch_seconds


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state dict."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _optimizer(model: nn.Module, training: Training) -> Optimizer:
    if training.optimizer == "sgd":
        return SGD(model.parameters(), lr=training.learning_rate, momentum=training.momentum)
    return Adam(model.parameters(), lr=training.learning_rate)


def _part(saved: Saved, part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): t for name, t in saved.tensors.items() if name.startswith(prefix)}


def _flat(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer by number of the parameter and name of the value."""
    states = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, state in states.items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def _unflatten(optimizer: Optimizer, flat: Mapping[str, Tensor]) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
