"""Layers of rows and columns that spare the backward pass what frozen nodes do not need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.layers import PRODUCTS


def is_sparable(module: nn.Module) -> bool:
    """Whether `spared` knows the module: linear, or a convolution without groups, padded with zeros."""
    product = PRODUCTS.get(type(module))
    return product is not None and product.has_gradients(module)


def spared(module: Any, rows: Tensor | None, columns: Tensor | None) -> Callable[[Tensor], Tensor]:
    """A forward for the module: the same outputs, gradients for the free parts only, zeros or none elsewhere.

    Args:
        module: The module, see `is_sparable`.
        rows: Positions of the rows that learn; `None` for all.
        columns: Positions of the inputs that need a gradient; `None` for all.
    """
    product = PRODUCTS[type(module)]

    def forward(x: Tensor) -> Tensor:
        weight, bias = module.weight, module.bias
        if rows is not None and not len(rows):
            weight, bias = weight.detach(), None if bias is None else bias.detach()
            x = x.detach()
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        if not (x.requires_grad or weight.requires_grad):
            return product.compute(module, x, weight, bias)
        output: Tensor = _Spared.apply(x, weight, bias, module, rows, columns)
        return output

    return forward


class _Spared(torch.autograd.Function):
    """A product with gradients of some rows and some inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, module: Any, *free: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.module, ctx.free = module, free
        return PRODUCTS[type(module)].compute(module, x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        module, (rows, columns) = ctx.module, ctx.free
        product = PRODUCTS[type(module)]
        grad = _chosen(grads[0], product.dim, rows)
        free = _chosen(weight, 0, rows)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        of_x = of_weight = of_bias = None
        if needs_weight:
            of_weight = _placed(product.weight_gradient(module, grad, x, free), weight.shape, 0, rows)
        if needs_bias:
            others = [dim for dim in range(grad.ndim) if dim != product.dim % grad.ndim]
            of_bias = _placed(grad.sum(others), weight.shape[:1], 0, rows)
        if needs_x and (columns is None or len(columns)):
            part = product.input_gradient(module, grad, x, _chosen(free, 1, columns))
            of_x = _placed(part, x.shape, product.dim, columns)
        return of_x, of_weight, of_bias, None, None, None


def _chosen(tensor: Tensor, dim: int, positions: Tensor | None) -> Tensor:
    return tensor if positions is None else tensor.index_select(dim, positions)


def _placed(part: Tensor, shape: torch.Size, dim: int, positions: Tensor | None) -> Tensor:
    """The part in its positions, zeros elsewhere."""
    return part if positions is None else part.new_zeros(shape).index_copy_(dim, positions, part)
