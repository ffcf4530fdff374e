"""A trunk that all tasks share, one linear head per task: the network of task-incremental learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from torch import Tensor, nn


class Trunk(nn.Module):
    """A network without its classifier: it maps images to ``num_features`` features.

    Args:
        network: The network without its classifier.
        num_features: Width of its output.
    """

    def __init__(self, network: nn.Module, num_features: int) -> None:
        super().__init__()
        self.network = network
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(B, num_features)``."""
        features: Tensor = self.network(x)
        return features


class MultiHead(nn.Module):
    """A trunk that all tasks share, and a linear head for each task.

    Args:
        trunk: Maps inputs to features of shape ``(B, num_features)``.
        num_features: Width of the features.
        num_classes: Number of classes of each task, in the order of the tasks.

    Raises:
        ValueError: If there is no task, or a task without a class.

    Example:
        >>> from torch import zeros
        >>> from agscl.models import MLP
        >>> model = MultiHead(MLP(4, (8,)), num_features=8, num_classes=[2, 5])
        >>> [tuple(logits.shape) for logits in model(zeros(3, 4))]
        [(3, 2), (3, 5)]
        >>> model(zeros(3, 4), task=1).shape
        torch.Size([3, 5])
    """

    def __init__(self, trunk: nn.Module, num_features: int, num_classes: Sequence[int]) -> None:
        super().__init__()
        if not num_classes or min(num_classes) < 1:
            raise ValueError(f"every task needs at least one class, got num_classes={tuple(num_classes)}")
        self.trunk = trunk
        self.heads = nn.ModuleList(nn.Linear(num_features, classes) for classes in num_classes)

    @overload
    def forward(self, x: Tensor, task: int) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, task: None = None) -> list[Tensor]: ...

    def forward(self, x: Tensor, task: int | None = None) -> Tensor | list[Tensor]:
        """Logits of one task, shape ``(B, num_classes[task])``, or of all tasks as a list.

        With a task, only its head is computed.
        """
        features = self.trunk(x)
        if task is None:
            return [head(features) for head in self.heads]
        logits: Tensor = self.heads[task](features)
        return logits
