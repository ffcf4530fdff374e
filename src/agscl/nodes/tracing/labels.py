"""Labels: which unit fills each position of a tensor, and where its activation can be read.

A label is an id tensor that broadcasts to the value it describes: `(1, C, 1, 1)` for an image with C channels.
An operation that only moves elements is followed by applying that very operation to the ids.
"""

from __future__ import annotations

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
    """

    ids: Tensor
    sources: frozenset[fx.Node] = frozenset()


@dataclass(frozen=True)
class ParameterLabel:
    """A parameter used directly by an operation, such as a learned scale."""

    name: str


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
