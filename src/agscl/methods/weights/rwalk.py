"""RWalk: Riemannian walk, Chaudhry et al. (ECCV 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agscl.methods.method import Network, Step, check_range, num_bytes
from agscl.methods.space import LogUniform, Space
from agscl.tensors import prefixed

from .path_penalty import Path, PathObserver, PathPenalty
from .quadratic import QuadraticPenalty, require_finite


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
    space: ClassVar[Space] = {"lam": LogUniform(0.01, 1e3)}  # published: about 0.1 to 50
    lam: float
    alpha: float = 0.9
    interval: int = 10
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        check_range("lam", self.lam, low=0)
        check_range("alpha", self.alpha, low=0, high=1, open_low=True)
        check_range("interval", self.interval, low=1)
        check_range("epsilon", self.epsilon, low=0, open_low=True)

    def protect(self, network: Network) -> PathPenalty:
        """A protection of the network, with nothing learned yet."""
        return PathPenalty(network, self.lam, FisherAndScore(self, network))


class FisherAndScore(PathObserver):
    """Observer of RWalk: a running Fisher, the scores of learned tasks, and the score so far of the task in progress.

    The path is advanced at every update of the score.
    """

    def __init__(self, method: RWalk, network: Network) -> None:
        self._method, self._network = method, network
        self._fisher, self._score, self._total = network.zeros(), network.zeros(), network.zeros()

    def start(self) -> None:
        """A new score; parameters that tasks have in common only now get a Fisher and scores as well."""
        self._fisher, self._score = self._network.zeros() | self._fisher, self._network.zeros() | self._score
        self._total = self._network.zeros()

    def observe(self, gradients: Mapping[str, Tensor]) -> None:
        """Update the running Fisher."""
        if gradients:
            fisher, newest = [self._fisher[name] for name in gradients], list(gradients.values())
            torch._foreach_mul_(fisher, 1 - self._method.alpha)
            torch._foreach_addcmul_(fisher, newest, newest, value=self._method.alpha)

    def observe_all(self, path: Path, step: Step) -> None:
        """Update the score every `interval` steps."""
        if (step.number + 1) % self._method.interval == 0:
            for name, total in self._total.items():
                total.add_(self._since_update(path, name))
            path.advance()

    def consolidate(self, path: Path, penalty: QuadraticPenalty, tasks: int) -> None:
        """Average the scores, scale them and the Fisher to [0, 1], and make their sum the importance."""
        newest = {name: total + self._since_update(path, name) for name, total in self._total.items()}
        require_finite({**newest, **self._fisher})
        newest, fisher = scaled(newest), scaled(self._fisher)
        self._score = newest if tasks == 1 else {name: (self._score[name] + s) / 2 for name, s in newest.items()}
        penalty.replace({name: fisher[name] + s for name, s in self._score.items()})
        self._total = self._network.zeros()

    def tensors(self) -> dict[str, Tensor]:
        """Fisher, scores of learned tasks and score so far, by name."""
        return prefixed(fisher=self._fisher, score=self._score, total=self._total)

    def num_bytes(self) -> int:
        """The running Fisher and the scores."""
        return num_bytes((*self._fisher.values(), *self._score.values()))

    def _since_update(self, path: Path, name: str) -> Tensor:
        """Equation (6) for the steps since the last update; costs of loss count as no importance."""
        distance = 0.5 * self._fisher[name] * path.moved(name).square()
        return (path.saved[name] / (distance + self._method.epsilon)).relu()


def scaled(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values scaled to [0, 1] by their least and largest over all tensors; constant ones become 0.

    >>> scaled({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([5.0])})
    {'a': tensor([0.0000, 0.2500]), 'b': tensor([1.])}
    """
    bounds = [torch.stack(tensor.aminmax()) for tensor in values.values()]
    low, high = min(float(b[0]) for b in bounds), max(float(b[1]) for b in bounds)
    span = high - low
    return {name: (tensor - low) / span if span > 0 else tensor * 0 for name, tensor in values.items()}
