"""CPR: classifier-projection regularization, Cha et al. (ICLR 2021), an option of every method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agscl.methods.method import Forward, LossTerm, Method, Network, Protection, RunningTask, check_range

from .all_heads import current_outputs, outputs_of


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
        check_range("beta", self.beta, low=0, high=torch.finfo(torch.float32).max)
        if isinstance(self.method, CPR):
            raise ValueError("CPR of CPR is one with both betas added: give it another method")

    def protect(self, network: Network) -> Protection:
        """The other method's protection, with the term beside what it adds to the loss.

        Raises:
            ValueError: If the other method does not fit the network.
        """
        protection = self.method.protect(network)
        protection.loss_terms = (*protection.loss_terms, Projection(self.beta))
        return protection


class Projection(LossTerm):
    """CPR's term."""

    def __init__(self, beta: float) -> None:
        self._beta = beta

    def applies(self, task: RunningTask | None) -> bool:
        """Always, unless ``beta=0``."""
        return self._beta > 0

    def value(self, network: Network, task: RunningTask, batch: Any, forward: Forward) -> Tensor:
        """The term, shape ``()``."""
        outputs = current_outputs(network, forward, batch)
        return self._beta * divergence_from_uniform(outputs_of(network.graph, outputs, task.task))


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """Mean over samples of the divergence of the predicted distribution from the uniform one, shape ``()``.

    Args:
        logits: Shape ``(B, classes)``.

    >>> divergence_from_uniform(torch.tensor([[1.0, 1.0], [100.0, 0.0]]))  # undecided and certain: half of log(2)
    tensor(0.3466)
    """
    log_p = logits.log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1)
    return math.log(logits.shape[1]) - entropy.mean()
