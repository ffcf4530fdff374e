"""SI: synaptic intelligence, Zenke, Poole and Ganguli (ICML 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agscl.methods.method import Network, check_range
from agscl.methods.space import LogUniform, OneOf, Space

from .consolidated_penalty import accumulate
from .path_penalty import Path, PathObserver, PathPenalty
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
    space: ClassVar[Space] = {
        "c": LogUniform(0.1, 1e4),  # published: 0.1 to 10; 1000 on small networks
        "xi": OneOf((0.001, 0.01, 0.1)),  # all of them published
    }
    c: float
    xi: float = 0.1

    def __post_init__(self) -> None:
        check_range("c", self.c, low=0)
        check_range("xi", self.xi, low=0, open_low=True)

    def protect(self, network: Network) -> PathPenalty:
        """A protection of the network, with nothing learned yet."""
        return PathPenalty(network, self.c, SavedLoss(self.xi))


class SavedLoss(PathObserver):
    """Observer of SI: the loss saved along the path is all that it needs."""

    def __init__(self, xi: float) -> None:
        self._xi = xi

    def consolidate(self, path: Path, penalty: QuadraticPenalty, tasks: int) -> None:
        """Add the path integral by the squared distance, equation (5), to the importance."""
        importance = {n: saved.relu() / (path.moved(n).square() + self._xi) for n, saved in path.saved.items()}
        require_finite(importance)
        accumulate(penalty, importance, tasks)
