"""SI: synaptic intelligence, Zenke, Poole and Ganguli (ICML 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agscl.methods.method import Learned, Network, Step, check_range

from .consolidated_penalty import accumulate
from .path_penalty import Moved, PathPenalty
from .quadratic import require_finite


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


class SynapticIntelligence(PathPenalty):
    """SI on one network. Between tasks it keeps importance and anchor; within a task the path so far."""

    def __init__(self, method: SI, network: Network) -> None:
        self._method = method
        super().__init__(network, method.c)

    def finish(self, learned: Learned) -> None:
        """Turn the path integral into importance, equation (5).

        Raises:
            ValueError: If the importance is not finite.
        """
        importance = {
            name: saved.relu()
            / ((self._network.parameters[name].detach() - self._origin[name]).square() + self._method.xi)
            for name, saved in self._saved.items()
        }
        require_finite(importance)
        accumulate(self._penalty, importance, len(learned.tasks))
        self._restart()

    def _observe(self, moved: Moved, step: Step) -> None:
        """The loss saved is all that SI needs."""
