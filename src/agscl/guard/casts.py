"""Casts and moves of a model behind a guard's back."""

from __future__ import annotations

import torch

from agscl.methods.method import Network


class Makes:
    """Type and place of every tensor of a model, as the guard has found them."""

    def __init__(self, network: Network) -> None:
        self._known = _makes_of(network)

    def check(self, network: Network, *, learned: bool) -> None:
        """Take a model that was cast before it has learned as it is now; refuse any other change.

        Raises:
            ValueError: If a tensor was moved, or cast after a task was learned.
        """
        now = _makes_of(network)
        for name in [name for name, make in self._known.items() if now.get(name, make) != make]:
            (kind, place), (new, moved) = self._known[name], now[name]
            if moved != place:
                raise ValueError(
                    f"{name!r} was moved from {place} to {moved} after protect(); move the model first, then protect it"
                )
            if learned:
                raise ValueError(
                    f"{name!r} was cast from {kind} to {new} after a task was learned, and so is not what it learned; "
                    "cast the model before protect(), or use autocast"
                )
        self._known = now


def _makes_of(network: Network) -> dict[str, tuple[torch.dtype, torch.device]]:
    return {name: (tensor.dtype, tensor.device) for name, tensor in network.state.items()}
