"""A network without its classifier, as what all tasks share."""

from __future__ import annotations

from torch import Tensor, nn


class Trunk(nn.Module):
    """A network that maps images to features.

    Args:
        network: The network without its classifier.
        num_features: Width of its output.

    Attributes:
        num_features: Width of the output.
    """

    def __init__(self, network: nn.Module, num_features: int) -> None:
        super().__init__()
        self.network = network
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(B, num_features)``."""
        features: Tensor = self.network(x)
        return features
