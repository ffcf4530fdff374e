"""Actor-critic networks: a trunk that all tasks share, and an actor and a critic head for each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

import torch
from torch import Tensor, nn

Outputs = tuple[Tensor, Tensor]
"""Logits of the actions, shape ``(B, num_actions[task])``, and values of the states, shape ``(B, 1)``."""


class Filters(NamedTuple):
    """One convolution.

    Attributes:
        channels: Number of filters.
        size: Height and width of a filter.
        stride: Distance between its positions.
    """

    channels: int
    size: int
    stride: int


NATURE = (Filters(32, 8, 4), Filters(64, 4, 2), Filters(64, 3, 1))
"""Mnih et al. (Nature, 2015), for images of 84x84."""

WIDE = (Filters(128, 8, 4), Filters(256, 4, 2), Filters(128, 3, 1))
"""The official code of Jung et al. (2020), for images of 84x84."""


class PixelTrunk(nn.Module):
    """Convolutions and one hidden layer, ReLU throughout.

    Args:
        input_shape: Of one observation: channels, height, width.
        filters: The convolutions.
        num_features: Width of the hidden layer.

    Example:
        >>> PixelTrunk((4, 84, 84), NATURE, num_features=512)(torch.zeros(1, 4, 84, 84)).shape
        torch.Size([1, 512])
    """

    def __init__(self, input_shape: Sequence[int], filters: Sequence[Filters], num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        channels = [input_shape[0], *(layer.channels for layer in filters)]
        layers: list[nn.Module] = []
        for given, layer in zip(channels, filters, strict=False):
            layers += [nn.Conv2d(given, layer.channels, layer.size, layer.stride), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = self.convolutions(torch.zeros(1, *input_shape)).shape[1]
        self.hidden = nn.Linear(flat, num_features)

    def forward(self, x: Tensor) -> Tensor:
        """Features of images in [0, 1], shape ``(B, num_features)``."""
        return torch.relu(self.hidden(self.convolutions(x)))


class ActorCritic(nn.Module):
    """A trunk with an actor and a critic for each task.

    The heads begin orthogonal, actors small (gain 0.01), so that a new task begins with all actions about as likely.

    Args:
        trunk: Maps observations to features of shape ``(B, num_features)``.
        num_features: Width of the features.
        num_actions: Number of actions of each task, in the order of the tasks.

    Raises:
        ValueError: If there is no task, or a task without an action.

    Example:
        >>> model = ActorCritic(nn.Linear(4, 8), num_features=8, num_actions=[2, 3])
        >>> logits, values = model(torch.zeros(5, 4), task=1)
        >>> tuple(logits.shape), tuple(values.shape)
        ((5, 3), (5, 1))
    """

    def __init__(self, trunk: nn.Module, num_features: int, num_actions: Sequence[int]) -> None:
        super().__init__()
        if not num_actions or min(num_actions) < 1:
            raise ValueError(f"every task needs at least one action, got num_actions={tuple(num_actions)}")
        self.trunk = trunk
        self.actors = nn.ModuleList(_head(num_features, actions, gain=0.01) for actions in num_actions)
        self.critics = nn.ModuleList(_head(num_features, 1, gain=1.0) for _ in num_actions)

    @overload
    def forward(self, x: Tensor, task: int) -> Outputs: ...

    @overload
    def forward(self, x: Tensor, task: None = None) -> list[Outputs]: ...

    def forward(self, x: Tensor, task: int | None = None) -> Outputs | list[Outputs]:
        """Outputs of one task's heads, or of all tasks as a list; only the heads of that task are computed."""
        features = self.trunk(x)
        if task is None:
            pairs = zip(self.actors, self.critics, strict=True)
            return [(actor(features), critic(features)) for actor, critic in pairs]
        return self.actors[task](features), self.critics[task](features)


def _head(num_features: int, outputs: int, gain: float) -> nn.Linear:
    head = nn.Linear(num_features, outputs)
    nn.init.orthogonal_(head.weight, gain)
    nn.init.zeros_(head.bias)
    return head
