"""Copies of a model, and tensors of other shapes in it; copies leave no trace in the model or in any generator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from agscl.nodes.layers import kind_of
from agscl.nodes.layers.widened import make_plain

from .replaced import put_in


def random_inputs(inputs: Any, generator: torch.Generator) -> Any:
    """Inputs, nested at will, with random numbers in the place of a tensor's where it holds numbers, not indices."""

    def drawn(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        return torch.randn(value.shape, generator=generator, dtype=value.dtype).to(value.device)

    return tree_map(drawn, inputs)


def plain_copy(model: nn.Module) -> nn.Module:
    """A deep copy of ordinary layers: in eval mode it computes what the model computes now, by its own tensors alone.

    No forward is set on an instance, widened layers compute in one call, and what a method lets modules compute with in
    the place of their tensors (gates and masks of the task that is shown) is put in.
    """
    copied = copy.deepcopy(model)
    put_in(copied)
    make_plain(copied)
    for module in copied.modules():
        module.__dict__.pop("forward", None)
    return copied


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, also those that are not saved."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def replace_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors, by name, into a model in the place of its parameters and buffers, wherever these are used.

    A parameter becomes a new parameter, and a layer's attributes that speak of shapes are brought in line.
    """
    known = tensors_of(model)
    new = {
        id(known[name]): nn.Parameter(tensor, known[name].requires_grad)
        if isinstance(known[name], nn.Parameter)
        else tensor
        for name, tensor in tensors.items()
    }
    for module in model.modules():
        own: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        changed = [(held, name) for held in own for name in held if id(held[name]) in new]
        for held, name in changed:
            held[name] = new[id(held[name])]
        if changed:
            vars(module).update(kind_of(module).fit(module))
