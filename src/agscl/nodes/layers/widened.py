"""Layers that were widened: the old part is computed as before, in the same shapes, so that its bits stay.

A matrix product over more columns may be summed in another order, even if the new columns are zero. So a widened layer
multiplies its old rows with its old columns in one call, exactly as it did, and adds what the new columns give.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .kind import Product


class Widened:
    """A layer with new rows or columns: what `widen` makes of a `plain` one, until `make_plain`."""

    plain: ClassVar[type[nn.Module]]
    product: ClassVar[Product]

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:  # noqa: A002 - torch's own name
        """What the plain layer computes, in the blocks that its widenings left.

        The first rows and columns by themselves; then, widening by widening, what new columns add, and new rows.
        Depthwise filters have one column each, which comes with them.
        """
        if output_size is not None:
            raise ValueError("a transposed convolution with new nodes takes no output_size; use output_padding")
        layer: Any = self
        dim, row_dim, depthwise = self.product.dim, self.product.row_dim, getattr(layer, "groups", 1) > 1

        def block(rows: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
            weight = chosen(layer.weight, 0, columns if row_dim else rows) if depthwise else layer.weight
            if not depthwise:
                weight = chosen(chosen(weight, row_dim, rows), 1 - row_dim, columns)
            part = chosen(input, dim, columns)
            return self.product.compute(layer, part, weight, None if bias is None else chosen(bias, 0, rows))

        made = _where(layer.row_widening == 0)
        y = block(made, _where(layer.column_widening == 0), layer.bias)
        for widening in range(1, layer.widenings + 1):
            rows, columns = _where(layer.row_widening == widening), _where(layer.column_widening == widening)
            if len(columns) and not depthwise:
                y = laid_out_like(y, y + block(made, columns, None))
            if len(rows):
                read = columns if depthwise else _where(layer.column_widening <= widening)
                y = laid_out_like(y, torch.cat([y, block(rows, read, layer.bias)], dim=dim))
                made = torch.cat([made, rows])
        return chosen(y, dim, made.argsort())


def widen(layer: Any, wide: type[Widened], rows: Tensor, columns: Tensor) -> None:
    """Note how the old part of a layer lies in the new one, after its tensors were replaced.

    The layer must stay the object that the model and its traces know, so its class changes in place. It notes for every
    row and column in which widening it came. A linear layer with 2 rows and 3 columns that gets a row between them
    and then a column at the end has ``row_widening = [0, 1, 0]`` and ``column_widening = [0, 0, 0, 2]``.

    Args:
        layer: The layer, with its new tensors.
        wide: Its class from now on.
        rows: Positions of the old rows among the new, ascending.
        columns: Positions of the old inputs among the new, ascending.
    """
    layer.widenings = getattr(layer, "widenings", 0) + 1
    row_dim = wide.product.row_dim
    num_rows, num_columns = layer.weight.shape[row_dim], layer.weight.shape[1 - row_dim]
    if getattr(layer, "groups", 1) > 1:
        num_rows, num_columns = layer.out_channels, layer.groups
    for name, old, size in (("row_widening", rows, num_rows), ("column_widening", columns, num_columns)):
        widening = torch.full((size,), layer.widenings, device=old.device)
        widening[old] = getattr(layer, name, 0)
        layer.register_buffer(name, widening, persistent=False)
    layer.__class__ = wide


def make_plain(model: nn.Module) -> None:
    """Turn widened layers into ordinary ones, which may sum in another order."""
    for layer in [module for module in model.modules() if isinstance(module, Widened)]:
        for name in ("row_widening", "column_widening", "widenings"):
            delattr(layer, name)
        layer.__class__ = layer.plain  # type: ignore[assignment]


def chosen(tensor: Tensor, dim: int, positions: Tensor) -> Tensor:
    """Positions along a dimension, laid out in memory as the tensor is; the tensor itself if they are all of it.

    Convolutions choose by the layout how they sum, so that it decides on the last bit.

    >>> image = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    >>> chosen(image, 1, torch.tensor([0, 2])).is_contiguous(memory_format=torch.channels_last)
    True
    """
    if torch.equal(positions, torch.arange(tensor.shape[dim], device=positions.device)):
        return tensor
    return laid_out_like(tensor, tensor.index_select(dim, positions))


def laid_out_like(like: Tensor, tensor: Tensor) -> Tensor:
    """A tensor with its dimensions in that order in memory in which another of as many dimensions has them."""
    strides, shape = like.stride(), like.shape
    order = sorted(range(like.ndim), key=lambda dim: (-strides[dim], shape[dim] == 1))
    return tensor.permute(order).contiguous().permute([order.index(dim) for dim in range(like.ndim)])


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()
