"""MAS: memory aware synapses, Aljundi et al. (ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agscl.methods.method import Learned, Network, check_range
from agscl.methods.space import LogUniform, Space

from .consolidated_penalty import MeasuredPenalty, accumulate
from .per_sample import mean_magnitudes


@dataclass(frozen=True)
class MAS:
    r"""Memory aware synapses: :math:`\lambda \sum_i \Omega_i (\theta_i - \theta^*_i)^2`, without labels.

    Importance is the sum over tasks of the mean over samples of
    :math:`|\partial \|f(x)\|_2^2 / \partial \theta_i|`, equations (3) and (5); the last weights are the anchor,
    equation (4).

    Attributes:
        lam: Strength of the penalty; ``inf`` freezes every weight that the outputs depend on.
    """

    name: ClassVar[str] = "mas"
    space: ClassVar[Space] = {"lam": LogUniform(1e-3, 10.0)}  # published: 1; in later codes about 0.03 to 0.1
    lam: float

    def __post_init__(self) -> None:
        check_range("lam", self.lam, low=0)

    def protect(self, network: Network) -> MeasuredPenalty:
        """A protection of the network, with nothing learned yet."""
        return MeasuredPenalty(network, self.lam, sensitivity, accumulate)


def sensitivity(network: Network, learned: Learned) -> dict[str, Tensor]:
    """Mean over samples of the gradient's magnitude of the outputs' squared length, by parameter name.

    Raises:
        ValueError: If there is no data.
    """
    return mean_magnitudes(
        network,
        learned,
        lambda batch, outputs: [()],  # one differentiation, which needs nothing but the outputs
        lambda outputs: outputs.square().flatten(1).sum(1),
        torch.abs,
    )
