"""Calling a model with other tensors in the place of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from .method import Forward


class _Holder(nn.Module):
    """Computes a function of the model as a module, which `functional_call` wants."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Forward, batch: Any) -> Any:
        return function(batch)


def call_with(model: nn.Module, tensors: Mapping[str, Tensor], function: Forward, batch: Any) -> Any:
    """Result of ``function(batch)`` with other tensors in the place of the model's own, by name.

    >>> import torch
    >>> model = nn.Linear(1, 1, bias=False)
    >>> call_with(model, {"weight": torch.tensor([[3.0]])}, lambda batch: model(batch) + 1, torch.ones(1, 1))
    tensor([[4.]])
    """
    return functional_call(_Holder(model), {f"model.{name}": t for name, t in tensors.items()}, (function, batch))
