"""States as named tensors: an optimizer's, and those of modules that are loaded together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer


class Restorable(Protocol):
    """What takes a state dict: a module, a guard."""

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> object:
        """Take it over."""


def load_states(complaint: str, *states: tuple[Restorable, Mapping[str, Tensor]]) -> None:
    """Put each into its state dict.

    Raises:
        ValueError: If one does not fit: the complaint, and the reason.
    """
    try:
        for restored, state in states:
            restored.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{complaint}: {reason}") from error


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
