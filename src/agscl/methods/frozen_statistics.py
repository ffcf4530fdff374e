"""Frozen statistics: channels that keep their running mean and variance while the others learn theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_STATISTICS = ("running_mean", "running_var")


@contextmanager
def freeze_statistics(model: nn.Module, channels: Mapping[str, Tensor]) -> Iterator[None]:
    """Let channels of norm layers normalise with their current statistics in training too.

    Without it the batch statistics of a new task would reach channels that old tasks rely on, and their running
    statistics would drift although their weights do not.

    Args:
        model: The model.
        channels: By module name, which channels are frozen: bool, shape ``(channels,)``.
    """
    modules = [model.get_submodule(name) for name in channels]
    for module, frozen in zip(modules, channels.values(), strict=True):
        module.forward = _forward(module, frozen)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _forward(module: nn.Module, frozen: Tensor) -> Callable[..., Tensor]:
    plain = module.forward
    kept = {name: module.get_buffer(name).clone() for name in _STATISTICS}

    def forward(*args: Any) -> Tensor:
        if not module.training:
            return plain(*args)  # type: ignore[no-any-return]
        own = {name: module.get_buffer(name) for name in _STATISTICS}
        learned = {name: tensor.clone() for name, tensor in own.items()}
        output = _with_buffers(module, learned, plain, args)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(torch.where(frozen, kept[name], learned[name]))
        module.training = False
        try:
            still = _with_buffers(module, kept, plain, args)
        finally:
            module.training = True
        shape = [-1 if dim == 1 else 1 for dim in range(output.ndim)]
        return torch.where(frozen.reshape(shape), still, output)

    return forward


def _with_buffers(
    module: nn.Module, buffers: Mapping[str, Tensor], call: Callable[..., Tensor], args: tuple[Any, ...]
) -> Tensor:
    """A call with other buffers in the place of the module's own: autograd keeps those, so its own may change."""
    own = dict(module._buffers)
    module._buffers.update(buffers)
    try:
        return call(*args)
    finally:
        module._buffers.update(own)
