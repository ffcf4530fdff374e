"""What a method has taken once a task is finished: nodes and bytes, for the record of any loop."""

from __future__ import annotations

from typing import TypedDict

from agscl.metrics import sparsity

from .guard import Guard


class Footprint(TypedDict):
    """Nodes and bytes.

    Attributes:
        sparsity: Share of nodes that are free; `None` if the method does not rate nodes.
        memory_bytes: All that the method keeps.
        regularization_bytes: Its regularization parameters alone, as figure 6(a) of the paper counts.
    """

    sparsity: float | None
    memory_bytes: int
    regularization_bytes: int


def footprint(guard: Guard) -> Footprint:
    """The footprint of a guard's method now."""
    importance = guard.importance
    return Footprint(
        sparsity=sparsity(importance) if importance else None,
        memory_bytes=guard.memory_bytes(),
        regularization_bytes=guard.memory_bytes(regularization_only=True),
    )
