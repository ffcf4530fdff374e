"""RWalk: Riemannian walk, Chaudhry et al. (ECCV 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agscl.methods.method import Learned, Memory, Network, Step, Training, check_range, num_bytes

from .path_penalty import Moved, PathPenalty, named
from .quadratic import require_finite


@dataclass(frozen=True)
class RWalk:
    r"""Riemannian walk: :math:`\lambda \sum_i (\tilde F_i + \tilde s_i)(\theta_i - \theta_{k-1,i})^2`, equation (8).

    Both the Fisher information, a moving average of the training steps' own squared gradients (EWC++, section 4.1),
    and the score, the loss saved per distance moved (equation 6), are scaled to [0, 1] over all weights (section 4.3);
    scores are averaged with those of earlier tasks. No step takes a second forward or backward pass.

    Attributes:
        lam: Strength of the penalty; ``inf`` freezes every weight of positive importance.
        alpha: Weight of the newest squared gradient in the moving average.
        interval: Steps between two updates of the score.
        epsilon: Damping of the score's denominator.
    """

    name: ClassVar[str] = "rwalk"
    lam: float
    alpha: float = 0.9
    interval: int = 10
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: If a value is out of range.
        """
        check_range("lam", self.lam, low=0)
        check_range("alpha", self.alpha, low=0, high=1, open_low=True)
        check_range("interval", self.interval, low=1)
        check_range("epsilon", self.epsilon, low=0, open_low=True)

    def protect(self, network: Network) -> RiemannianWalk:
        """A protection of the network, with nothing learned yet."""
        return RiemannianWalk(self, network)


class RiemannianWalk(PathPenalty):
    """RWalk on one network.

    It keeps between tasks the penalty, the running Fisher and the scores; within a task the loss saved since the last
    update, the scores so far, and the weights at the last update.
    """

    def __init__(self, method: RWalk, network: Network) -> None:
        self._method, self._network = method, network
        self._fisher, self._score = self._zeros(), self._zeros()
        super().__init__(network, method.lam)

    def begin(self, training: Training) -> None:
        """Start the walk, or go on with one that was begun."""
        super().begin(training)
        self._fisher, self._score = self._zeros() | self._fisher, self._zeros() | self._score

    def finish(self, learned: Learned) -> None:
        """Average the scores, scale them and the Fisher to [0, 1], and make their sum the importance.

        Raises:
            ValueError: If the importance is not finite.
        """
        newest = {name: total + self._since_update(name) for name, total in self._total.items()}
        require_finite({**newest, **self._fisher})
        first = len(learned.tasks) == 1
        newest = scaled(newest)
        score = newest if first else {name: (self._score[name] + s) / 2 for name, s in newest.items()}
        fisher = scaled(self._fisher)
        self._penalty.replace({name: fisher[name] + s for name, s in score.items()})
        self._score = score
        self._restart()

    def memory(self) -> Memory:
        """Importance; on top the anchor, the running Fisher and the scores."""
        memory = self._penalty.memory()
        running = num_bytes(self._fisher.values()) + num_bytes(self._score.values()) if memory.total else 0
        return Memory(memory.regularization, memory.total + running)

    def _observe(self, moved: Moved, step: Step) -> None:
        """Update the running Fisher; every `interval` steps the score."""
        if moved.names:
            fisher = [self._fisher[n] for n in moved.names]
            torch._foreach_mul_(fisher, 1 - self._method.alpha)
            torch._foreach_addcmul_(fisher, moved.gradients, moved.gradients, value=self._method.alpha)
        if (step.number + 1) % self._method.interval == 0:
            self._update_score()

    def _update_score(self) -> None:
        for name, total in self._total.items():
            total.add_(self._since_update(name))
            self._saved[name].zero_()
            self._origin[name].copy_(self._network.parameters[name].detach())

    def _since_update(self, name: str) -> Tensor:
        """Equation (6) for the steps since the last update; costs of loss count as no importance."""
        moved = self._network.parameters[name].detach() - self._origin[name]
        distance = 0.5 * self._fisher[name] * moved.square()
        return (self._saved[name] / (distance + self._method.epsilon)).relu()

    def _restart(self) -> None:
        super()._restart()
        self._total = self._zeros()

    def _path(self) -> dict[str, Tensor]:
        return super()._path() | named(fisher=self._fisher, score=self._score, total=self._total)


def scaled(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values scaled to [0, 1] by their least and largest over all tensors; constant ones become 0."""
    bounds = [torch.stack(tensor.aminmax()) for tensor in values.values()]
    low, high = min(float(b[0]) for b in bounds), max(float(b[1]) for b in bounds)
    span = high - low
    return {name: (tensor - low) / span if span > 0 else tensor * 0 for name, tensor in values.items()}
