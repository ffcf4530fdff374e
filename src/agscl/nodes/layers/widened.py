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

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """What the plain layer computes, in the blocks that its widenings left.

        The first rows and columns by themselves; then, widening by widening, what new columns add, and new rows.
        Depthwise filters have one column each, which comes with them.
        """
        layer: Any = self
        dim, depthwise = self.product.dim, getattr(layer, "groups", 1) > 1

        def block(rows: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
            weight = layer.weight[rows] if depthwise else layer.weight[rows][:, columns]
            part = input.index_select(dim, columns)
            return self.product.compute(layer, part, weight, None if bias is None else bias[rows])

        made = _where(layer.row_widening == 0)
        y = block(made, _where(layer.column_widening == 0), layer.bias)
        for widening in range(1, layer.widenings + 1):
            rows, columns = _where(layer.row_widening == widening), _where(layer.column_widening == widening)
            if len(columns) and not depthwise:
                y = y + block(made, columns, None)
            if len(rows):
                read = columns if depthwise else _where(layer.column_widening <= widening)
                y = torch.cat([y, block(rows, read, layer.bias)], dim=dim)
                made = torch.cat([made, rows])
        return y.index_select(dim, made.argsort())


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
    num_columns = layer.weight.shape[1] * getattr(layer, "groups", 1)
    for name, old, size in (("row_widening", rows, len(layer.weight)), ("column_widening", columns, num_columns)):
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


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()
