"""Penalties whose importance is gathered along the way, step by step: SI and RWalk.

A step is seen from outside: the clean gradient before it and the movement after it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agscl.methods.method import Memory, Network, Protection, Step, Training, same_shapes

from .quadratic import QuadraticPenalty


@dataclass(frozen=True)
class Moved:
    """One step, for the parameters that had a gradient.

    Attributes:
        names: Their names.
        gradients: The task's gradient, without penalty and scale.
        backwards: Weights before the step minus weights after it.
    """

    names: list[str]
    gradients: list[Tensor]
    backwards: list[Tensor]


class Movement:
    """Watches steps; the buffers it returns are used again by the next step.

    Args:
        parameters: The weights to watch, by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self._gradients = {name: torch.empty_like(p, requires_grad=False) for name, p in parameters.items()}
        self._before = {name: torch.empty_like(p, requires_grad=False) for name, p in parameters.items()}
        self._names: list[str] = []

    def before(self, step: Step) -> None:
        """Remember weights and gradients; call it before anything else changes the gradients."""
        self._names = [name for name, p in self._parameters.items() if p.grad is not None]
        if self._names:
            live = [grad for name in self._names if (grad := self._parameters[name].grad) is not None]
            gradients = [self._gradients[name] for name in self._names]
            torch._foreach_copy_(gradients, live)
            if isinstance(step.scale, Tensor) or step.scale != 1:
                torch._foreach_div_(gradients, step.scale)
            torch._foreach_copy_([self._before[name] for name in self._names], self._weights())

    def after(self) -> Moved:
        """What the step did."""
        backwards = [self._before[name] for name in self._names]
        if self._names:
            torch._foreach_sub_(backwards, self._weights())
        return Moved(self._names, [self._gradients[name] for name in self._names], backwards)

    def _weights(self) -> list[Tensor]:
        return [self._parameters[name].detach() for name in self._names]


class PathPenalty(Protection):
    """A quadratic penalty whose importance comes from the path that the weights take.

    Args:
        network: The network.
        strength: Factor of the penalty.
    """

    def __init__(self, network: Network, strength: float) -> None:
        self._network = network
        self._penalty = QuadraticPenalty(network, strength)
        self._restart()

    @abstractmethod
    def _observe(self, moved: Moved, step: Step) -> None:
        """Take a step into account, beyond the loss that it saved."""

    def begin(self, training: Training) -> None:
        """Start a path at the present weights, or go on with one that was begun."""
        if not self._begun:
            self._restart()
        self._movement = Movement(self._network.common)
        self._penalty.begin(training)

    def before_step(self, step: Step) -> None:
        """Read the task's gradient, then add the penalty's."""
        self._movement.before(step)
        self._penalty.add_gradient(step)

    def after_step(self, step: Step) -> None:
        """Add up the loss that the step saved: the task's gradient times the way back."""
        self._penalty.hold()
        self._begun.fill_(True)
        moved = self._movement.after()
        if moved.names:
            torch._foreach_addcmul_([self._saved[n] for n in moved.names], moved.gradients, moved.backwards)
        self._observe(moved, step)

    def end(self) -> None:
        """Give the model back as it was."""
        self._penalty.end()
        del self._movement

    def penalty(self) -> Tensor:
        """The penalty at the present weights, shape ``()``."""
        return self._penalty.value()

    def tensors(self) -> dict[str, Tensor]:
        """Importance and anchor by parameter, and the path of the task in progress."""
        return {**self._penalty.tensors(), **self._path()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state.

        Raises:
            ValueError: If a tensor does not fit.
        """
        same_shapes(tensors, {**self._penalty.blank(tensors), **self._path()})
        self._penalty.load(tensors)
        for name, tensor in self._path().items():
            tensor.copy_(tensors[name])

    def memory(self) -> Memory:
        """Importance, and the anchor on top; the path ends with its task."""
        return self._penalty.memory()

    def _restart(self) -> None:
        self._begun = torch.tensor(False)
        self._saved = self._zeros()
        self._origin = {name: p.detach().clone() for name, p in self._network.common.items()}

    def _zeros(self) -> dict[str, Tensor]:
        return {name: torch.zeros_like(p, requires_grad=False) for name, p in self._network.common.items()}

    def _path(self) -> dict[str, Tensor]:
        return {"begun": self._begun, **named(saved=self._saved, origin=self._origin)}


def named(**books: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Books of tensors as one, by ``book.name``."""
    return {f"{book}.{name}": tensor for book, tensors in books.items() for name, tensor in tensors.items()}
