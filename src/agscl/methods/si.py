"""SI: synaptic intelligence, Zenke, Poole and Ganguli (ICML 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .measured import accumulate
from .method import Learned, Memory, Network, Protection, Step, Training, check_range, same_shapes
from .movement import Movement
from .quadratic import QuadraticPenalty, require_finite


@dataclass(frozen=True)
class SI:
    r"""Synaptic intelligence: :math:`c \sum_i \Omega_i (\tilde\theta_i - \theta_i)^2`, equation (4).

    Importance is the sum over tasks of :math:`\omega_i / (\Delta_i^2 + \xi)`, equation (5), where :math:`\omega_i` is
    the loss that the weight's own movement saved along the way, measured by the task's gradient alone. A weight whose
    movement cost loss counts as unimportant: a negative importance would push weights away without bound.

    Attributes:
        c: Strength of the penalty; ``inf`` freezes every weight of positive importance.
        xi: Damping in equation (5), in squared units of the weights.
    """

    name: ClassVar[str] = "si"
    c: float
    xi: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: If a value is out of range.
        """
        check_range("c", self.c, low=0)
        check_range("xi", self.xi, low=0, open_low=True)

    def protect(self, network: Network) -> SynapticIntelligence:
        """A protection of the network, with nothing learned yet."""
        return SynapticIntelligence(self, network)


class SynapticIntelligence(Protection):
    """SI on one network. Between tasks it keeps importance and anchor; within a task the path so far."""

    def __init__(self, method: SI, network: Network) -> None:
        self._method, self._network = method, network
        self._penalty = QuadraticPenalty(network, method.c)
        self._restart()

    def begin(self, training: Training) -> None:
        """Start the path integral, or go on with one that was begun."""
        if not any(saved.any() for saved in self._saved.values()):
            self._restart()
        self._movement = Movement(self._network.common)
        self._penalty.begin(training)

    def before_step(self, step: Step) -> None:
        """Read the task's gradient, then add the penalty's."""
        self._movement.before(step)
        self._penalty.add_gradient(step)

    def after_step(self, step: Step) -> None:
        """Add this step's contribution to the path integral."""
        self._penalty.hold()
        moved = self._movement.after()
        if moved.names:
            torch._foreach_addcmul_([self._saved[n] for n in moved.names], moved.gradients, moved.backwards)

    def end(self) -> None:
        """Give the model back as it was."""
        self._penalty.end()
        del self._movement

    def finish(self, learned: Learned) -> None:
        """Turn the path integral into importance, equation (5).

        Raises:
            ValueError: If the importance is not finite.
        """
        importance = {
            name: saved.relu()
            / ((self._network.parameters[name].detach() - self._start[name]).square() + self._method.xi)
            for name, saved in self._saved.items()
        }
        require_finite(importance)
        accumulate(self._penalty, importance, len(learned.tasks))
        self._restart()

    def penalty(self) -> Tensor:
        """The penalty at the present weights, shape ``()``."""
        return self._penalty.value()

    def tensors(self) -> dict[str, Tensor]:
        """Importance and anchor by parameter; the path of the task in progress and where it started."""
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
        common = self._network.common
        self._saved = {name: torch.zeros_like(p, requires_grad=False) for name, p in common.items()}
        self._start = {name: p.detach().clone() for name, p in common.items()}

    def _path(self) -> dict[str, Tensor]:
        books = {"path": self._saved, "start": self._start}
        return {f"{book}.{name}": tensor for book, tensors in books.items() for name, tensor in tensors.items()}
