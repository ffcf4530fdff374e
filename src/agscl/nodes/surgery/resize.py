"""Tensors of other shapes in the modules of a model, with the attributes that speak of shapes brought in line."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from agscl.nodes.layers import kind_of


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
        parameters = {name: new[id(old)] for name, old in module._parameters.items() if id(old) in new}
        buffers = {name: new[id(old)] for name, old in module._buffers.items() if id(old) in new}
        module._parameters.update(parameters)  # type: ignore[arg-type]
        module._buffers.update(buffers)
        fit = kind_of(module).fit
        if fit is not None and (parameters or buffers):
            fit(module)
