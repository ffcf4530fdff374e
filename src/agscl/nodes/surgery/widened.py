"""Layers that were widened: the old part is computed as before, in the same shapes, so that its bits stay.

A matrix product over more columns may be summed in another order, even if the new columns are zero. So a widened layer
multiplies its old rows with its old columns in one call, exactly as it did, and adds what the new columns give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WidenedLinear(nn.Linear):
    """A linear layer with new rows or columns; made by `widened`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """What a linear layer computes."""
        return _in_blocks(self, input, -1)


class WidenedConv1d(nn.Conv1d):
    """A convolution with new rows or columns; made by `widened`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """What a convolution computes."""
        return _in_blocks(self, input, 1)


class WidenedConv2d(nn.Conv2d):
    """A convolution with new rows or columns; made by `widened`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """What a convolution computes."""
        return _in_blocks(self, input, 1)


WIDENED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: WidenedLinear,
    nn.Conv1d: WidenedConv1d,
    nn.Conv2d: WidenedConv2d,
}
"""What each kind of layer becomes when it is widened."""

_PLAIN = {wide: plain for plain, wide in WIDENED.items()}


def can_widen(module: nn.Module) -> bool:
    """Whether the layer is of a kind that can be widened: linear, or a plain or depthwise convolution."""
    if isinstance(module, nn.Conv1d | nn.Conv2d) and (module.groups not in (1, module.in_channels)):
        return False
    return type(module) in WIDENED or type(module) in _PLAIN


def widen(module: Any, rows: Tensor, columns: Tensor) -> None:
    """Note how the old part lies in the new one, after the tensors were replaced.

    Args:
        module: The layer, with its new tensors; its class changes.
        rows: Positions of the old rows among the new, ascending.
        columns: Positions of the old inputs among the new, ascending.
    """
    module.__class__ = WIDENED.get(type(module), type(module))
    level = getattr(module, "levels", 0)
    module.levels = level + 1
    module.register_buffer(f"rows_{level}", rows, persistent=False)
    module.register_buffer(f"columns_{level}", columns, persistent=False)


def make_plain(model: nn.Module) -> None:
    """Turn widened layers into ordinary ones, which may sum in another order."""
    for module in [module for module in model.modules() if type(module) in _PLAIN]:
        for level in range(module.levels):  # type: ignore[arg-type]
            delattr(module, f"rows_{level}")
            delattr(module, f"columns_{level}")
        del module.levels
        module.__class__ = _PLAIN[type(module)]


def _in_blocks(module: Any, x: Tensor, dim: int) -> Tensor:
    olds = [(getattr(module, f"rows_{n}"), getattr(module, f"columns_{n}")) for n in range(module.levels)]
    return _nested(module, x, dim, (module.weight, module.bias), olds)


def _nested(
    module: Any, x: Tensor, dim: int, own: tuple[Tensor, Tensor | None], olds: Sequence[tuple[Tensor, Tensor]]
) -> Tensor:
    """The old part by itself, what new columns add to it, and the new rows."""
    weight, bias = own
    if not olds:
        return _product(module, x, weight, bias)
    *before, (rows, columns) = olds
    added, extra = _others(rows, weight.shape[0]), _others(columns, x.shape[dim])
    depthwise = getattr(module, "groups", 1) > 1
    old = weight[rows] if depthwise else weight[rows][:, columns]
    y = _nested(module, x.index_select(dim, columns), dim, (old, _at(bias, rows)), before)
    if len(extra) and not depthwise:
        y = y + _product(module, x.index_select(dim, extra), weight[rows][:, extra], None)
    if not len(added):
        return y
    new = _product(module, x.index_select(dim, extra) if depthwise else x, weight[added], _at(bias, added))
    order = torch.cat([rows, added]).argsort()
    return torch.cat([y, new], dim=dim).index_select(dim, order)


def _product(module: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(module, nn.Linear):
        return F.linear(x, weight, bias)
    groups = x.shape[1] if module.groups > 1 else 1
    if module.padding_mode != "zeros":
        x = F.pad(x, module._reversed_padding_repeated_twice, mode=module.padding_mode)
    padding = module.padding if module.padding_mode == "zeros" else 0
    compute = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
    output: Tensor = compute(x, weight, bias, module.stride, padding, module.dilation, groups)
    return output


def _others(positions: Tensor, size: int) -> Tensor:
    mask = torch.ones(size, dtype=torch.bool, device=positions.device)
    mask[positions] = False
    return mask.nonzero().flatten()


def _at(bias: Tensor | None, positions: Tensor) -> Tensor | None:
    return None if bias is None else bias[positions]
