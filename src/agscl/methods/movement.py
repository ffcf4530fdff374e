"""What a step does to the weights, seen from outside: the clean gradient before it and the movement after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .method import Step


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
