"""Units: the ids that flow through a model, minted by producers and merged where the model ties them."""

from __future__ import annotations

import torch
from torch import Tensor

NO_UNIT = -1
"""Id of a position that no unit fills, such as a channel of the model's input."""


class Units:
    """Disjoint sets of unit ids (union-find with path halving)."""

    def __init__(self) -> None:
        self._parent: list[int] = []

    def mint(self, count: int) -> Tensor:
        """New ids, shape ``(count,)``."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def unify(self, first: Tensor, second: Tensor) -> None:
        """Make one unit of each pair of ids; pairs with `NO_UNIT` are left alone. Shapes are equal."""
        pairs = torch.stack([first.flatten(), second.flatten()], dim=1).unique(dim=0)
        for one, other in pairs.tolist():
            if NO_UNIT not in (one, other):
                low, high = sorted((self._find(one), self._find(other)))
                self._parent[high] = low

    def tie(self, ids: Tensor) -> None:
        """Make one unit of all ids, shape ``(n,)``, but `NO_UNIT`."""
        real = ids[ids != NO_UNIT].unique()
        self.unify(real[:-1], real[1:])

    def roots(self, ids: Tensor) -> Tensor:
        """The representative of each id, same shape."""
        root = {unit: self._find(unit) for unit in ids.unique().tolist() if unit != NO_UNIT}
        return torch.tensor([root.get(unit, NO_UNIT) for unit in ids.flatten().tolist()]).reshape(ids.shape)

    def _find(self, unit: int) -> int:
        while self._parent[unit] != unit:
            self._parent[unit] = self._parent[self._parent[unit]]
            unit = self._parent[unit]
        return unit
