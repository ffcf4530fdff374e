"""Penalties whose importance is measured on the task's data once it is learned: EWC and MAS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from agscl.methods.method import Learned, Memory, Network, Protection, RunningTask, StepHooks, Usage, restored

from .quadratic import QuadraticPenalty, require_finite

Measure = Callable[[Network, Learned], dict[str, Tensor]]
"""Importance of the weights for the task just learned, by parameter name."""

Merge = Callable[[QuadraticPenalty, dict[str, Tensor], int], None]
"""Joins a new importance to a penalty; the number says how many tasks are learned, the new one included."""


class MeasuredPenalty(Protection):
    """A quadratic penalty with an importance pass after each task.

    Args:
        network: The network.
        strength: Factor of the penalty.
        measure: The importance pass.
        merge: How its result joins what earlier tasks left.
    """

    rounds = True

    def __init__(self, network: Network, strength: float, measure: Measure, merge: Merge) -> None:
        self._network, self._measure, self._merge = network, measure, merge
        self._penalty = QuadraticPenalty(network, strength)

    def holding(self, task: RunningTask) -> AbstractContextManager[StepHooks]:
        """As the quadratic penalty."""
        return self._penalty.holding(task)

    def finish(self, learned: Learned) -> None:
        """Measure the importance and make the current weights an anchor."""
        importance = self._measure(self._network, learned)
        require_finite(importance)
        self._merge(self._penalty, importance, len(learned.tasks))

    def penalty(self) -> Tensor:
        """The penalty at the current weights, shape ``()``."""
        return self._penalty.value()

    def usage(self) -> Usage | None:
        """As the quadratic penalty."""
        return self._penalty.usage()

    def tensors(self) -> dict[str, Tensor]:
        """Importance and anchor by parameter, and the penalty's constant."""
        return self._penalty.tensors()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        self._penalty.load(restored(tensors, self._penalty.blank(tensors)))

    def memory(self) -> Memory:
        """Importance, and the anchor on top."""
        return self._penalty.memory()


def separate(penalty: QuadraticPenalty, importance: dict[str, Tensor], tasks: int) -> None:
    """A penalty of its own for each task."""
    penalty.add(importance)


def accumulate(penalty: QuadraticPenalty, importance: dict[str, Tensor], tasks: int, *, decay: float = 1.0) -> None:
    """Add importance to what is left of the old; the last weights are the only anchor."""
    old = penalty.importance
    penalty.replace({n: decay * old.get(n, torch.zeros_like(new)) + new for n, new in importance.items()})


def average(penalty: QuadraticPenalty, importance: dict[str, Tensor], tasks: int) -> None:
    """Mean importance over all tasks; the last weights are the only anchor."""
    old = penalty.importance
    means = {n: (old.get(n, torch.zeros_like(new)) * (tasks - 1) + new) / tasks for n, new in importance.items()}
    penalty.replace(means)
