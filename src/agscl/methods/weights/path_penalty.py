"""Penalties whose importance is gathered along the way, step by step: SI and RWalk.

A step is seen from outside: the clean gradient before it and the movement after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from agscl.methods.method import Learned, Memory, Network, Protection, RunningTask, Step, StepHooks, Usage, restored
from agscl.tensors import prefixed

from .quadratic import QuadraticPenalty


class StepRecorder:
    """Records the clean gradient and the movement of every step, for the weights that tasks have in common."""

    def __init__(self, network: Network) -> None:
        self._parameters = network.common
        self._gradients, self._before = network.zeros(), network.zeros()
        self._names: list[str] = []

    def before(self, step: Step) -> None:
        """Remember weights and gradients; call it before anything else changes the gradients."""
        self._names = [name for name, p in self._parameters.items() if p.grad is not None]
        if self._names:
            current = [grad for name in self._names if (grad := self._parameters[name].grad) is not None]
            gradients = [self._gradients[name] for name in self._names]
            torch._foreach_copy_(gradients, current)
            if isinstance(step.scale, Tensor) or step.scale != 1:
                torch._foreach_div_(gradients, step.scale)
            torch._foreach_copy_([self._before[name] for name in self._names], self._weights())

    def after(self, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add up the loss that the step saved: the task's gradient times the way back.

        Args:
            saved: Sums by parameter name, changed in place.

        Returns:
            The task's gradients by name, without penalty and scale; the next step writes over them.
        """
        gradients = {name: self._gradients[name] for name in self._names}
        if self._names:
            backwards = [self._before[name] for name in self._names]
            torch._foreach_sub_(backwards, self._weights())
            torch._foreach_addcmul_([saved[name] for name in self._names], list(gradients.values()), backwards)
        return gradients

    def _weights(self) -> list[Tensor]:
        return [self._parameters[name].detach() for name in self._names]


class Path:
    """The path of the weights since a task began, or since it was last advanced.

    Attributes:
        begun: Whether a step was taken, bool, shape ``()``.
        saved: The loss that each weight's own movement saved, by parameter name.
        origin: Where it began, by parameter name.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.restart()

    def restart(self) -> None:
        """Begin a new path at the current weights."""
        self.begun = torch.tensor(False)
        self.saved = self._network.zeros()
        self.origin = {name: p.detach().clone() for name, p in self._network.common.items()}

    def advance(self) -> None:
        """Go on with the same path from the current weights, with nothing saved since then."""
        for name, saved in self.saved.items():
            saved.zero_()
            self.origin[name].copy_(self._network.parameters[name].detach())

    def moved(self, name: str) -> Tensor:
        """How far a parameter is from the origin, of its shape."""
        return self._network.parameters[name].detach() - self.origin[name]

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name; the tensors themselves, not copies."""
        return {"begun": self.begun, **prefixed(saved=self.saved, origin=self.origin)}


class PathObserver(ABC):
    """Observes a path and turns it into importance; it may keep tensors beside the path itself."""

    @abstractmethod
    def consolidate(self, path: Path, penalty: QuadraticPenalty, tasks: int) -> None:
        """Turn the path of the task just learned into importance, and join it to the penalty.

        Args:
            path: The path from its beginning to the current weights.
            penalty: The penalty of the tasks before.
            tasks: How many tasks are learned, this one included.

        Raises:
            ValueError: If the importance is not finite; nothing is changed then.
        """

    def start(self) -> None:
        """A new path begins."""

    def observe(self, gradients: Mapping[str, Tensor]) -> None:
        """Take the task's gradients of a step into account, beyond the loss that it saved."""

    def observe_all(self, path: Path, step: Step) -> None:
        """Take the path into account, once all optimizers have stepped."""

    def tensors(self) -> dict[str, Tensor]:
        """All that is kept, by name, to be saved; the tensors themselves, not copies."""
        return {}

    def num_bytes(self) -> int:
        """Bytes that are kept from one task to the next."""
        return 0


class PathPenalty(Protection):
    """A quadratic penalty whose importance comes from the path that the weights take.

    Args:
        network: The network.
        strength: Factor of the penalty.
        observer: Turns the path into importance.
    """

    def __init__(self, network: Network, strength: float, observer: PathObserver) -> None:
        self._network, self._observer = network, observer
        self._penalty, self._path = QuadraticPenalty(network, strength), Path(network)

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Start a path at the current weights, or go on with one that was begun; record every step of it."""
        if not self._path.begun:
            self._path.restart()
            self._observer.start()
        recorder = StepRecorder(self._network)
        with self._penalty.holding(task) as held:

            def before_step(step: Step) -> None:
                recorder.before(step)
                held.before_step(step)

            def after_step(step: Step) -> None:
                held.after_step(step)
                self._path.begun.fill_(True)
                self._observer.observe(recorder.after(self._path.saved))

            yield StepHooks(before_step, after_step, after_all=partial(self._observer.observe_all, self._path))

    def finish(self, learned: Learned) -> None:
        """Turn the path into importance and make the current weights the anchor."""
        self._observer.consolidate(self._path, self._penalty, len(learned.tasks))
        self._path.restart()

    def penalty(self) -> Tensor:
        """The penalty at the current weights, shape ``()``."""
        return self._penalty.value()

    def usage(self) -> Usage | None:
        """As the quadratic penalty."""
        return self._penalty.usage()

    def tensors(self) -> dict[str, Tensor]:
        """Importance and anchor by parameter, and the path of the task in progress."""
        return {**self._penalty.tensors(), **self._path.tensors(), **self._observer.tensors()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        path = {**self._path.tensors(), **self._observer.tensors()}
        state = restored(tensors, {**self._penalty.blank(tensors), **path})
        self._penalty.load(state)
        for name, tensor in path.items():
            tensor.copy_(state[name])

    def memory(self) -> Memory:
        """Importance, and the anchor on top; the path ends with its task."""
        memory = self._penalty.memory()
        return Memory(memory.regularization, memory.total + (self._observer.num_bytes() if memory.total else 0))
