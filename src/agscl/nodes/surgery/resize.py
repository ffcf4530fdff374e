"""Tensors of other shapes in the modules of a model, with the attributes that speak of shapes brought in line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def replace_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put new tensors into a model in the place of its parameters and buffers, wherever these are used.

    Args:
        model: Changed in place.
        tensors: The new values by name; a parameter becomes a new parameter.
    """
    known: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    new: dict[int, Tensor] = {
        id(known[name]): nn.Parameter(tensor, known[name].requires_grad)
        if isinstance(known[name], nn.Parameter)
        else tensor
        for name, tensor in tensors.items()
    }
    for module in model.modules():
        for book in (module._parameters, module._buffers):
            changed = {name: new[id(old)] for name, old in book.items() if id(old) in new}
            if changed:
                book.update(changed)  # type: ignore[arg-type]
                _fit(module)


def _fit(module: Any) -> None:
    """Make a module's attributes agree with the shapes of its tensors."""
    match module:
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.modules.conv._ConvTransposeNd():
            module.groups = module.groups * module.weight.shape[0] // module.in_channels if module.groups > 1 else 1
            module.in_channels, module.out_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
        case nn.modules.conv._ConvNd():
            module.groups = module.groups * module.weight.shape[0] // module.out_channels if module.groups > 1 else 1
            module.in_channels, module.out_channels = module.weight.shape[1] * module.groups, module.weight.shape[0]
        case nn.modules.batchnorm._NormBase():
            own = module.running_mean if module.weight is None else module.weight
            module.num_features = len(own)
        case nn.GroupNorm():
            module.num_groups = module.num_groups * len(module.weight) // module.num_channels
            module.num_channels = len(module.weight)
        case nn.PReLU():
            module.num_parameters = len(module.weight)
        case nn.Embedding():
            module.embedding_dim = module.weight.shape[1]
