"""What a method has taken once a task is finished: nodes and bytes, for the record of any loop."""

from __future__ import annotations

from typing import TypedDict

from agscl.metrics import LayerCapacity, sparsity

from .guard import Guard


class Footprint(TypedDict):
    """Nodes and bytes.

    Attributes:
        sparsity: Share of nodes that are free; `None` if the method does not rate nodes.
        memory_bytes: All that the method keeps.
        regularization_bytes: Its regularization parameters alone, as figure 6(a) of the paper counts.
        capacity: How full each layer is; `None` if the method has no notion of it.
    """

    sparsity: float | None
    memory_bytes: int
    regularization_bytes: int
    capacity: tuple[LayerCapacity, ...] | None


def footprint(guard: Guard) -> Footprint:
    """The footprint of a guard's method now."""
    importance, capacity = guard.importance, guard.capacity()
    return Footprint(
        sparsity=sparsity(importance) if importance else None,
        memory_bytes=guard.memory_bytes(),
        regularization_bytes=guard.memory_bytes(regularization_only=True),
        capacity=None if capacity is None else tuple(capacity),
    )
