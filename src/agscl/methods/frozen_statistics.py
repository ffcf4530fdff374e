"""Frozen statistics: channels that keep their running mean and variance while the others learn theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_STATISTICS = ("running_mean", "running_var")


class FrozenStatistics:
    """Lets channels of norm layers normalise with their present statistics in training too.

    Without it the batch statistics of a new task would reach channels that old tasks rely on, and their running
    statistics would drift although their weights do not.

    Args:
        model: The model.
        frozen: By module name, which channels are frozen: bool, shape ``(channels,)``.
    """

    def __init__(self, model: nn.Module, frozen: Mapping[str, Tensor]) -> None:
        self._modules = [model.get_submodule(name) for name in frozen]
        for module, channels in zip(self._modules, frozen.values(), strict=True):
            module.forward = _forward(module, channels)

    def release(self) -> None:
        """Let all channels learn their statistics again."""
        for module in self._modules:
            del module.forward


def _forward(module: nn.Module, channels: Tensor) -> Callable[..., Tensor]:
    plain = module.forward
    kept = {name: module.get_buffer(name).clone() for name in _STATISTICS}

    def forward(*args: Any) -> Tensor:
        if not module.training:
            return plain(*args)  # type: ignore[no-any-return]
        live = {name: module.get_buffer(name) for name in _STATISTICS}
        learned = {name: tensor.clone() for name, tensor in live.items()}
        output = _with_buffers(module, learned, plain, args)
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(torch.where(channels, kept[name], learned[name]))
        module.training = False
        try:
            frozen = _with_buffers(module, kept, plain, args)
        finally:
            module.training = True
        shape = [-1 if dim == 1 else 1 for dim in range(output.ndim)]
        return torch.where(channels.reshape(shape), frozen, output)

    return forward


def _with_buffers(
    module: nn.Module, buffers: Mapping[str, Tensor], call: Callable[..., Tensor], args: tuple[Any, ...]
) -> Tensor:
    """A call with other buffers in the module's place: autograd keeps those, so the live ones may change."""
    live = dict(module._buffers)
    module._buffers.update(buffers)
    try:
        return call(*args)
    finally:
        module._buffers.update(live)
