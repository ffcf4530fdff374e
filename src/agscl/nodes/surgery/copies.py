"""Copies of a model and random inputs to try things on, which leave no trace in the model or in any generator."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.layers.widened import make_plain


def random_like(value: Any, generator: torch.Generator) -> Any:
    """Random numbers in the place of a tensor's, where it holds numbers and not indices."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return torch.randn(value.shape, generator=generator, dtype=value.dtype).to(value.device)


def plain_copy(model: nn.Module) -> nn.Module:
    """A deep copy of ordinary layers: no forward is set on an instance, and widened layers compute in one call."""
    copied = copy.deepcopy(model)
    make_plain(copied)
    for module in copied.modules():
        module.__dict__.pop("forward", None)
    return copied
