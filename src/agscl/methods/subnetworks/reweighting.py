"""Lets modules compute with other tensors than their own, made anew at every forward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

Reweight = Callable[[str, nn.Module, Tensor], Tensor]
"""Maps a parameter's or buffer's name, its module, and its own value to the tensor to compute with."""


class Reweighting:
    """Hooks that put other tensors in the place of a model's own while its modules compute.

    Autograd follows the replacement, so its ingredients get their gradients; names, parameters and state dict of the
    model stay as they are.

    Args:
        model: The model.
        names: Parameters and buffers to replace.
        reweight: Makes the replacements.
    """

    def __init__(self, model: nn.Module, names: Iterable[str], reweight: Reweight) -> None:
        self._reweight = reweight
        owned: dict[str, list[str]] = defaultdict(list)
        for name in names:
            owned[name.rpartition(".")[0]].append(name)
        for path, members in owned.items():
            module = model.get_submodule(path)
            _Replacement(self, module, members)

    def replaced(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """The tensor to compute with."""
        return self._reweight(name, module, own)


class _Replacement:
    """The hooks on one module."""

    def __init__(self, reweighting: Reweighting, module: nn.Module, names: list[str]) -> None:
        self._reweighting = reweighting
        self._names = {name.rpartition(".")[2]: name for name in names}
        self._kept: dict[str, Tensor] = {}
        module.register_forward_pre_hook(self._put)
        module.register_forward_hook(self._take, always_call=True)

    def _put(self, module: nn.Module, args: Any) -> None:
        self._kept = {local: self._book(module, local)[local] for local in self._names}
        for local, own in self._kept.items():
            self._book(module, local)[local] = self._reweighting.replaced(self._names[local], module, own)

    def _take(self, module: nn.Module, args: Any, output: Any) -> None:
        for local, own in self._kept.items():
            self._book(module, local)[local] = own
        self._kept = {}

    def _book(self, module: nn.Module, local: str) -> dict[str, Any]:
        return module._parameters if local in module._parameters else module._buffers
