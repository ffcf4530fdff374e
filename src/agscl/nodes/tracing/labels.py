"""Labels: which unit fills each position of a tensor, and where its activation can be read.

A label is an id tensor that broadcasts to the value it describes: `(1, C, 1, 1)` for an image with C channels.
An operation that only moves elements is followed by applying that very operation to the ids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from .ledger import NO_UNIT


@dataclass(frozen=True)
class Label:
    """Units of one tensor.

    Attributes:
        ids: Unit ids, as many dimensions as the value; size 1 where the unit does not depend on the position.
        sources: Operations whose outputs hold these units' activations, before any pooling or movement.
        scores: Whether it is a softmax of units, which is not zero where they are: fit to weigh others, not to be read.
    """

    ids: Tensor
    sources: frozenset[fx.Node] = frozenset()
    scores: bool = False


@dataclass(frozen=True)
class ParameterLabel:
    """A parameter, or a view of one, used directly by an operation, such as a learned scale.

    Attributes:
        name: Its name in the model.
        shape: The parameter's own shape.
        view: Which position of the flattened parameter stands where, shaped as the value; `None` for the whole.
        computed: Whether the value is a function of the parameter, element by element: no weight that can be cut.
    """

    name: str
    shape: torch.Size
    view: Tensor | None = None
    computed: bool = False

    @property
    def positions(self) -> Tensor:
        """Which position of the flattened parameter stands where, shaped as the value."""
        return torch.arange(self.shape.numel()).reshape(self.shape) if self.view is None else self.view

    def axes(self) -> list[tuple[int, Tensor] | None] | None:
        """For every dimension of the value, the parameter's dimension that it runs along, and its positions there.

        A new dimension of size one has none. There are none at all if the value is no block of the parameter, as
        behind a reshape that joins dimensions.

        >>> weight = torch.arange(6).reshape(2, 3)
        >>> ParameterLabel("weight", weight.shape, weight.T[1:]).axes()
        [(1, tensor([1, 2])), (0, tensor([0, 1]))]
        """
        if self.computed:
            return None
        if self.view is None:
            return [(dim, torch.arange(size)) for dim, size in enumerate(self.shape)]
        positions = self.view
        if not positions.numel() or not positions.ndim:
            return None
        left, corner = list(range(len(self.shape))), positions[(0,) * positions.ndim]
        start = torch.stack(torch.unravel_index(corner, self.shape))
        block = torch.zeros((), dtype=torch.int64)
        axes: list[tuple[int, Tensor] | None] = [None] * positions.ndim
        for dim in sorted(range(positions.ndim), key=lambda d: -positions.shape[d]):
            line = positions[tuple(slice(None) if d == dim else 0 for d in range(positions.ndim))]
            coordinates = torch.stack(torch.unravel_index(line, self.shape))
            moving = (coordinates != start[:, None]).any(1).nonzero().flatten().tolist()
            if len(moving) > 1 or not set(moving) <= set(left):
                return None
            if not moving and (positions.shape[dim] > 1 or not left):
                continue
            own = moving[0] if moving else left[0]
            left.remove(own)
            axes[dim] = own, coordinates[own]
            stride = math.prod(self.shape[own + 1 :])
            shape = [-1 if d == dim else 1 for d in range(positions.ndim)]
            block = block + ((coordinates[own] - start[own]) * stride).reshape(shape)
        return axes if torch.equal((block + corner).expand_as(positions), positions) else None


class HeadLabel:
    """What comes out of a head: an output of the model, no nodes."""


HEAD = HeadLabel()

AnyLabel = Label | ParameterLabel | HeadLabel | None
"""`None`: the tensor holds no units (it comes from the model's inputs and constants only)."""


def fill(label: AnyLabel, value: Tensor) -> Tensor:
    """The id at every position of a value, same shape."""
    return label.ids.expand(value.shape) if isinstance(label, Label) else torch.full(value.shape, NO_UNIT)


def compress(ids: Tensor) -> Tensor:
    """The smallest id tensor that broadcasts to the given one."""
    for dim in range(ids.ndim):
        first = ids.narrow(dim, 0, min(1, ids.shape[dim]))
        if torch.equal(first.expand_as(ids), ids):
            ids = first
    return ids


def labels_in(structure: Any) -> list[AnyLabel]:
    """All labels in nested lists, tuples and dicts, in order."""
    if isinstance(structure, dict):
        structure = list(structure.values())
    if isinstance(structure, list | tuple):
        return [label for item in structure for label in labels_in(item)]
    return [structure] if isinstance(structure, Label | ParameterLabel | HeadLabel) else []
