"""CPR: classifier-projection regularization, Cha et al. (ICLR 2021), an option of every method."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agscl.methods.method import Learned, Memory, Method, Network, Protection, Step, Training, check_range

from .all_heads import outputs_of, present_outputs


@dataclass(frozen=True)
class CPR:
    r"""Classifier-projection regularization: another method, and flatter answers to the task at hand.

    Adds :math:`\beta \, D_{KL}(p \,\|\, \text{uniform})` of the current task's outputs p to the loss, equation (3),
    as the mean over samples: add ``guard.extra_loss(batch, forward)``. All else is the other method's.

    Attributes:
        method: The method it is added to.
        beta: Strength of the term.
    """

    method: Method
    beta: float

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: If a value is out of range, or the method is CPR itself.
        """
        check_range("beta", self.beta, low=0, high=torch.finfo(torch.float32).max)
        if isinstance(self.method, CPR):
            raise ValueError("CPR of CPR is one with both betas added: give it another method")

    def protect(self, network: Network) -> Projection:
        """The other method's protection with the term on top.

        Raises:
            ValueError: If the other method does not fit the network.
        """
        return Projection(self, network, self.method.protect(network))


class Projection(Protection):
    """CPR on one network: all goes to the other protection, which keeps all there is to keep."""

    def __init__(self, method: CPR, network: Network, inner: Protection) -> None:
        self._method, self._network, self._inner = method, network, inner
        self._task: int | None = None

    def begin(self, training: Training) -> None:
        """Take note of the task."""
        self._inner.begin(training)
        self._task = training.task

    def before_step(self, step: Step) -> None:
        """As the other method does."""
        self._inner.before_step(step)

    def after_step(self, step: Step) -> None:
        """As the other method does."""
        self._inner.after_step(step)

    def after_epoch(self) -> None:
        """As the other method does."""
        self._inner.after_epoch()

    def end(self) -> None:
        """As the other method does."""
        self._inner.end()
        self._task = None

    @property
    def has_extra_loss(self) -> bool:
        """Always, unless ``beta=0``."""
        return self._method.beta > 0 or self._inner.has_extra_loss

    def extra_loss(self, batch: Any, forward: Callable[[Any], Any]) -> Tensor | None:
        """The term, on top of the other method's.

        Raises:
            ValueError: If the outputs are not those of all heads.
        """
        extra = self._inner.extra_loss(batch, forward)
        if self._task is None or self._method.beta == 0:
            return extra
        outputs = present_outputs(self._network, forward, batch)
        term = self._method.beta * divergence_from_uniform(outputs_of(self._network.graph, outputs, self._task))
        return term if extra is None else extra + term

    def finish(self, learned: Learned) -> None:
        """As the other method does."""
        self._inner.finish(learned)

    def use_task(self, task: int) -> None:
        """As the other method does."""
        self._inner.use_task(task)

    def penalty(self) -> Tensor | None:
        """The other method's penalty."""
        return self._inner.penalty()

    def importance(self) -> dict[str, Tensor]:
        """The other method's importance of nodes."""
        return self._inner.importance()

    def tensors(self) -> dict[str, Tensor]:
        """The other method's state."""
        return self._inner.tensors()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the other method's state.

        Raises:
            ValueError: If a tensor does not fit.
        """
        self._inner.load(tensors)

    def memory(self) -> Memory:
        """What the other method keeps."""
        return self._inner.memory()


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """Mean over samples of the divergence of the predicted distribution from the uniform one, shape ``()``.

    Args:
        logits: Shape ``(B, classes)``.
    """
    log_p = logits.log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1)
    return math.log(logits.shape[1]) - entropy.mean()
