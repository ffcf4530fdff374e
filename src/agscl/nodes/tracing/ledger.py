"""The ledger of a trace: which positions of which parameter belong to which unit.

Units are ids that flow through a model, minted by producers and merged where the model ties them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx

NO_UNIT = -1
"""Id of a position that no unit fills, such as a channel of the model's input."""

_UNSEEN = -2
"""Id of a position of a parameter that nothing has used yet."""

Place = tuple[str, int]
"""A tensor's name and the dimension along which its positions belong to units."""

Part = tuple[int, Tensor]
"""How many positions a tensor has along a dimension, and which of them are meant."""


class Units:
    """Disjoint sets of unit ids; each is represented by its lowest. Negative ids are no units and stay as they are."""

    def __init__(self) -> None:
        self._root = torch.empty(0, dtype=torch.int64)

    def mint(self, count: int) -> Tensor:
        """New ids, shape ``(count,)``."""
        new = torch.arange(len(self._root), len(self._root) + count)
        self._root = torch.cat([self._root, new])
        return new

    def unify(self, first: Tensor, second: Tensor) -> None:
        """Make one unit of each pair of ids; pairs with `NO_UNIT` are left alone. Shapes are equal."""
        one, other = first.flatten(), second.flatten()
        real = (one >= 0) & (other >= 0)
        one, other = self._root[one[real]], self._root[other[real]]
        while len(one):
            low, high = torch.minimum(one, other), torch.maximum(one, other)
            self._root.scatter_reduce_(0, high, low, "amin")
            while not torch.equal(roots := self._root[self._root], self._root):
                self._root = roots
            one, other = self._root[low], self._root[high]
            differ = one != other
            one, other = one[differ], other[differ]

    def merge(self, ids: Tensor, dims: Iterable[int]) -> Tensor:
        """Make one unit of all ids along dimensions, which then have size 1; `NO_UNIT` where there is none at all."""
        for dim in dims:
            top = ids.amax(dim, keepdim=True)
            self.unify(top.expand_as(ids), ids)
            ids = top
        return self.roots(ids)

    def tie(self, ids: Tensor) -> None:
        """Make one unit of all ids, any shape, but `NO_UNIT`."""
        real = ids[ids >= 0]
        self.unify(real[:1].expand_as(real), real)

    def roots(self, ids: Tensor) -> Tensor:
        """The representative of each id, same shape."""
        return torch.where(ids >= 0, self._root[ids.clamp_min(0)], ids) if len(self._root) else ids


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
        streams: Ids of units that all their layer is: what a norm, or a weight along positions, ties as a whole.
        outputs: Ids that the model's outputs hold.
        users: By parameter, the modules in whose forward it is used.
        elements: By parameter that is used by itself, one id for each of its positions.
        serving: By parameter whose positions each serve several units, their ids.
        uses: By parameter and operation, in which senses and along which dimensions its positions are used.
        used: Names of all parameters and buffers that the forward uses.
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
        self.streams: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.users: dict[str, set[str]] = {}
        self.elements: dict[str, Tensor] = {}
        self.serving: dict[str, tuple[torch.Size, list[Tensor]]] = {}
        self.uses: dict[str, dict[fx.Node | None, set[tuple[str, int]]]] = {}
        self.used: set[str] = set()

    def produce(self, place: Place, size: int, index: Tensor | None = None, *, use: fx.Node | None = None) -> Tensor:
        """Ids of the units that a parameter's positions make; the same ids when it is used again.

        Args:
            place: The tensor's name and the dimension of the positions.
            size: How many positions there are.
            index: Which of them are used; all by default.
            use: The operation, if it is one.
        """
        self._note(self.incoming, place, use)
        known = self.incoming.setdefault(place, torch.full((size,), _UNSEEN))
        used = torch.arange(size) if index is None else index
        unseen = used[known[used] == _UNSEEN].unique()
        known[unseen] = self.units.mint(len(unseen))
        return known[used]

    def enter(
        self,
        entries: dict[Place, Tensor],
        place: Place,
        ids: Tensor,
        part: Part | None = None,
        *,
        use: fx.Node | None = None,
    ) -> None:
        """Write down which units a tensor's positions serve; positions used twice tie the units that use them.

        Args:
            entries: In which sense: one of `incoming`, `outgoing`, `statistics`.
            place: The tensor's name and the dimension of the positions.
            ids: The unit of each position, shape ``(positions,)``.
            part: How many positions the tensor has and which of them these are, if not all.
            use: The operation, if it is one.

        Raises:
            ValueError: If a position is used both by a unit and by something that is none.
        """
        self._note(entries, place, use)
        size, index = part or (len(ids), torch.arange(len(ids)))
        known = entries.setdefault(place, torch.full((size,), _UNSEEN))
        unseen = known[index] == _UNSEEN
        known[index[unseen]] = ids[unseen]
        if ((known[index] < 0) != (ids < 0)).any():
            raise ValueError(f"{place[0]!r} serves a node in one call and the model's input in another")
        self.units.unify(known[index], ids)

    def elements_of(self, name: str, shape: torch.Size) -> Tensor:
        """One id for each position of a parameter that is used by itself, shaped as it."""
        if name not in self.elements:
            self.elements[name] = self.units.mint(shape.numel()).reshape(shape)
        return self.elements[name]

    def serve(self, name: str, shape: torch.Size, ids: Tensor) -> None:
        """Write down a parameter of which every position serves all of these units."""
        self.serving.setdefault(name, (shape, []))[1].append(ids.flatten())

    def settle(self) -> None:
        """Enter parameters that were used by themselves, now that it is known which units their positions met.

        What serves several units is shared by them, what serves one belongs to it.

        Raises:
            ValueError: If it is not clear whom a position belongs to, or one belongs to two nodes in two senses.
        """
        for name, (shape, served) in self.serving.items():
            units = self.units.roots(torch.cat(served)).unique()
            if len(units) == 1 and shape:
                self.enter(self.incoming, (name, len(shape) - 1), units.expand(shape[-1]))
            else:
                self.shared.add(name)
        if mixed := ({name for name, _ in self.incoming} | self.elements.keys()) & self.shared:
            raise ValueError(f"positions of {min(mixed)!r} belong to a node in one place and serve several in another")
        entered = [*self.incoming.values(), *self.outgoing.values()]
        used = self.units.roots(torch.cat([*entered, torch.tensor([NO_UNIT])])).unique()
        for name, elements in self.elements.items():
            ids = self.units.roots(elements)
            met = torch.where(torch.isin(ids, used), ids, NO_UNIT)
            if (met >= 0).any():  # rows of a table that the example inputs do not look up may be without
                ids = met
            lines = [(dim, line) for dim in reversed(range(ids.ndim)) if (line := _line(ids, dim)) is not None]
            if ids.ndim and not lines:
                raise ValueError(f"it is not clear which node each position of {name!r} belongs to")
            if lines:
                self.enter(self.incoming, (name, lines[0][0]), lines[0][1])
        self._require_one_sense()

    def _note(self, entries: dict[Place, Tensor], place: Place, use: fx.Node | None) -> None:
        role = "incoming" if entries is self.incoming else "outgoing"
        if entries is not self.statistics:
            self.uses.setdefault(place[0], {}).setdefault(use, set()).add((role, place[1]))

    def _require_one_sense(self) -> None:
        """Refuse tied weights of which a position comes into one node in one place and leaves another elsewhere."""
        for name, uses in self.uses.items():
            senses = [frozenset(roles) for roles in uses.values()]
            made = {dim for roles in senses for role, dim in roles if role == "incoming"}
            mixed = any(
                ("incoming", dim) in one and ("outgoing", dim) in other
                for dim in made
                for one in senses
                for other in senses
                if one != other
            )
            if mixed or len(made) > 1:
                raise ValueError(
                    f"{name!r} is used in two places, where the same positions come into nodes in one and leave nodes, "
                    "or come into others, in the other (tied weights); give each place a weight of its own"
                )


def _line(ids: Tensor, dim: int) -> Tensor | None:
    """The ids along a dimension, if all that are units agree along the others."""
    others = [other for other in range(ids.ndim) if other != dim]
    highest = ids.amax(others, keepdim=True) if others else ids
    return highest.flatten() if ((ids == highest) | (ids < 0)).all() else None
