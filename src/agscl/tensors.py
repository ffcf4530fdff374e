"""Groups of named tensors as one, and back: what every saved state is made of."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def prefixed(**groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of all groups, each under ``GROUP.NAME``.

    >>> import torch
    >>> prefixed(model={"weight": torch.ones(1)}, random={"torch": torch.zeros(1)})
    {'model.weight': tensor([1.]), 'random.torch': tensor([0.])}
    """
    return {f"{group}.{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def under(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One group's tensors, by the names that they had before `prefixed`.

    >>> import torch
    >>> under("model", {"model.weight": torch.ones(1), "random.torch": torch.zeros(1)})
    {'weight': tensor([1.])}
    """
    prefix = f"{group}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def text_tensor(text: str) -> Tensor:
    """A text as a tensor of its bytes, uint8.

    >>> bytes(text_tensor("ab").tolist()).decode()
    'ab'
    """
    return torch.tensor(list(text.encode()), dtype=torch.uint8)
