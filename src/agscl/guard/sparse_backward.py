"""Linear layers and convolutions that spare the backward pass what frozen nodes do not need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FreeParts:
    """Where gradients go.

    Attributes:
        rows: Positions of the rows that learn; `None` for all.
        columns: Positions of the inputs that need a gradient; `None` for all.
    """

    rows: Tensor | None
    columns: Tensor | None


def spared(module: nn.Linear | nn.modules.conv._ConvNd, parts: FreeParts) -> Callable[[Tensor], Tensor]:
    """A forward for the module: the same outputs, gradients for the free parts only, zeros or none elsewhere."""
    geometry = _geometry(module)

    def forward(x: Tensor) -> Tensor:
        weight, bias = module.weight, module.bias
        if parts.rows is not None and not len(parts.rows):
            weight, bias = weight.detach(), None if bias is None else bias.detach()
            x = x.detach()
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        if not (x.requires_grad or weight.requires_grad):
            return _compute(x, weight, bias, geometry)
        output: Tensor = _Spared.apply(x, weight, bias, geometry, parts)
        return output

    return forward


def is_sparable(module: nn.Module) -> bool:
    """Whether `spared` knows the module: linear, or a convolution without groups, padded with zeros."""
    if isinstance(module, nn.modules.conv._ConvNd):
        numbers = not isinstance(module.padding, str) and module.padding_mode == "zeros"
        return module.groups == 1 and not module.transposed and numbers
    return isinstance(module, nn.Linear)


_Geometry = tuple[Any, Any, Any] | None
"""Stride, padding and dilation of a convolution; `None` for a linear layer."""


def _geometry(module: nn.Module) -> _Geometry:
    is_conv = isinstance(module, nn.modules.conv._ConvNd)
    return (module.stride, module.padding, module.dilation) if is_conv else None


def _compute(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    if geometry is None:
        return nn.functional.linear(x, weight, bias)
    return torch.convolution(x, weight, bias, *geometry, False, (0,) * len(geometry[0]), 1)


class _Spared(torch.autograd.Function):
    """``y = W x + b`` with gradients of some rows and some inputs."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry, parts: FreeParts
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.parts, ctx.has_bias = geometry, parts, bias is not None
        return _compute(x, weight, bias, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows, columns = ctx.parts.rows, ctx.parts.columns
        dim = -1 if ctx.geometry is None else 1
        grad = _chosen(grads[0], dim, rows)
        free = _chosen(weight, 0, rows)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        of_x = of_weight = of_bias = None
        if needs_weight:
            of_weight = _placed(_weight_gradient(grad, x, free, ctx.geometry), weight.shape, 0, rows)
        if needs_bias:
            others = [d for d in range(grad.ndim) if d != dim % grad.ndim]
            of_bias = _placed(grad.sum(others), weight.shape[:1], 0, rows)
        if needs_x and (columns is None or len(columns)):
            part = _input_gradient(grad, x, _chosen(free, 1, columns), ctx.geometry)
            of_x = _placed(part, x.shape, dim, columns)
        return of_x, of_weight, of_bias, None, None


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    if geometry is None:
        return grad.flatten(0, -2).T @ x.flatten(0, -2)
    return _convolution_backward(grad, x, weight, geometry, (False, True, False))[1]


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    if geometry is None:
        return grad @ weight
    shaped = x.narrow(1, 0, weight.shape[1])  # only its shape matters
    return _convolution_backward(grad, shaped, weight, geometry, (True, False, False))[0]


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Any, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    zeros = (0,) * len(geometry[0])
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, *geometry, False, zeros, 1, wanted
    )
    return result


def _chosen(tensor: Tensor, dim: int, positions: Tensor | None) -> Tensor:
    return tensor if positions is None else tensor.index_select(dim, positions)


def _placed(part: Tensor, shape: torch.Size, dim: int, positions: Tensor | None) -> Tensor:
    """The part in its positions, zeros elsewhere."""
    return part if positions is None else part.new_zeros(shape).index_copy_(dim, positions, part)
