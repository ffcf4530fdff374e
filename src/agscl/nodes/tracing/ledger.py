"""The ledger of a trace: which positions of which parameter belong to which unit.

Units are ids that flow through a model, minted by producers and merged where the model ties them.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

NO_UNIT = -1
"""Id of a position that no unit fills, such as a channel of the model's input."""

Place = tuple[str, int]
"""A tensor's name and the dimension along which its positions belong to units."""


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


class Ledger:
    """What the rules write down while the model is traced.

    Attributes:
        units: The ids, with their ties.
        incoming: What units receive: rows of weights, biases, the affine pair of a norm layer.
        outgoing: What reads units: columns of weights.
        statistics: Running statistics of norm layers.
        readings: Ids that are read from an operation's output.
        labels: Ids at every position of such an output, shaped as its label.
        shared: Names in the state that no unit owns but every unit behind them depends on.
        exposed: Ids that flow into an ignored module and so cannot be cut off.
    """

    def __init__(self) -> None:
        self.units = Units()
        self.incoming: dict[Place, Tensor] = {}
        self.outgoing: dict[Place, Tensor] = {}
        self.statistics: dict[Place, Tensor] = {}
        self.readings: dict[fx.Node, Tensor] = {}
        self.labels: dict[fx.Node, Tensor] = {}
        self.shared: set[str] = set()
        self.exposed: list[Tensor] = []

    def produce(self, place: Place, count: int) -> Tensor:
        """Ids of the units that a parameter's positions make; the same ids when it is used again."""
        if place not in self.incoming:
            self.incoming[place] = self.units.mint(count)
        return self.incoming[place]

    def enter(self, entries: dict[Place, Tensor], place: Place, ids: Tensor) -> None:
        """Write down which units a tensor's positions serve; positions used twice tie the units that use them.

        Args:
            entries: In which sense: one of `incoming`, `outgoing`, `statistics`.
            place: The tensor's name and the dimension of the positions.
            ids: The unit of each position, shape ``(positions,)``.

        Raises:
            ValueError: If a position is used both by a unit and by something that is none.
        """
        known = entries.setdefault(place, ids)
        if ((known == NO_UNIT) != (ids == NO_UNIT)).any():
            raise ValueError(f"{place[0]!r} serves a node in one call and the model's input in another")
        self.units.unify(known, ids)
