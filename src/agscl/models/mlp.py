"""A fully connected trunk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def scaled(widths: Sequence[int], factor: float) -> tuple[int, ...]:
    """Widths of layers times a factor, rounded, at least 1.

    Example:
        >>> scaled((32, 64), 0.5)
        (16, 32)
    """
    return tuple(max(1, round(width * factor)) for width in widths)


class MLP(nn.Module):
    """Flatten, then linear layers with ReLU.

    Args:
        num_inputs: Number of values in one input.
        widths: Number of neurons of each layer; the last is the number of features.

    Raises:
        ValueError: If there is no layer.

    Attributes:
        num_features: Width of the output.

    Example:
        >>> from torch import zeros
        >>> MLP(4, (8, 3))(zeros(2, 2, 2)).shape
        torch.Size([2, 3])
    """

    def __init__(self, num_inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        if not widths:
            raise ValueError("an MLP needs at least one layer, got widths=()")
        pairs = pairwise([num_inputs, *widths])
        layers = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]
        self.layers = nn.Sequential(nn.Flatten(), *layers)
        self.num_features = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(B, num_features)`` of inputs of any shape ``(B, ...)``."""
        features: Tensor = self.layers(x)
        return features
