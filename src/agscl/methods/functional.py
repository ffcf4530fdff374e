"""Calling a model with other tensors in the place of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from .method import Forward


class _Caller(nn.Module):
    """A function that calls the model, as a module, which `functional_call` wants."""

    def __init__(self, model: nn.Module, function: Forward) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, batch: Any) -> Any:
        return self.function(batch)


def call_with(model: nn.Module, tensors: Mapping[str, Tensor], function: Forward, batch: Any) -> Any:
    """Result of ``function(batch)`` with other tensors in the place of the model's own, by name.

    >>> import torch
    >>> model = nn.Linear(1, 1, bias=False)
    >>> call_with(model, {"weight": torch.tensor([[3.0]])}, lambda batch: model(batch) + 1, torch.ones(1, 1))
    tensor([[4.]])
    """
    return functional_call(_Caller(model, function), {f"model.{name}": t for name, t in tensors.items()}, (batch,))
