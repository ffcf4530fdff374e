"""Groups of named tensors as one, and an optimizer's state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


def prefixed(**groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of all groups, each under ``GROUP.NAME``.

    >>> prefixed(model={"weight": torch.ones(1)}, random={"torch": torch.zeros(1)})
    {'model.weight': tensor([1.]), 'random.torch': tensor([0.])}
    """
    return {f"{group}.{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def under(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One group's tensors, by the names that they had before `prefixed`.

    >>> under("model", {"model.weight": torch.ones(1), "random.torch": torch.zeros(1)})
    {'weight': tensor([1.])}
    """
    prefix = f"{group}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of each parameter, as ``NUMBER.NAME``; its settings are not in it."""
    states = optimizer.state_dict()["state"].items()
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in states
        for name, value in state.items()
        if value is not None
    }


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Let an optimizer remember what `optimizer_tensors` gave and nothing else; its settings stay as they are."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
