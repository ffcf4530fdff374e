"""Group vectors: the pieces of many parameters that belong to a node, as one row of a matrix, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .graph import Slice


def gather(slices: Iterable[Slice], tensors: Mapping[str, Tensor]) -> Tensor:
    """Group vectors of a layer's nodes, shape ``(num_nodes, I)``: a copy, one row a node.

    Args:
        slices: What belongs to the nodes, such as `NodeLayer.incoming`.
        tensors: The tensors by name, such as a state dict.

    >>> state = {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "bias": torch.tensor([5.0, 6.0])}
    >>> nodes = torch.tensor([[0], [1]])
    >>> gather([Slice("weight", 0, nodes), Slice("bias", 0, nodes)], state)
    tensor([[1., 2., 5.],
            [3., 4., 6.]])
    """
    vectors = []
    for piece in slices:
        moved = tensors[piece.parameter].detach().movedim(piece.dim, 0)
        vectors.append(moved[piece.positions].reshape(len(piece.index), -1))
    return torch.cat(vectors, dim=1)


@torch.no_grad()
def scatter(slices: Iterable[Slice], tensors: Mapping[str, Tensor], rows: Tensor) -> None:
    """Write group vectors back where `gather` took them from; rows have shape ``(num_nodes, I)``.

    >>> state = {"weight": torch.zeros(2, 2)}
    >>> scatter([Slice("weight", 1, torch.tensor([[0], [1]]))], state, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> state["weight"]
    tensor([[1., 3.],
            [2., 4.]])
    """
    start = 0
    for piece in slices:
        moved = tensors[piece.parameter].detach().movedim(piece.dim, 0)
        width = piece.index.shape[1] * moved[0].numel()
        part = rows[:, start : start + width].reshape(-1, *moved.shape[1:])
        moved[piece.positions] = part.to(moved.dtype)
        start += width


@torch.no_grad()
def fill(slices: Iterable[Slice], tensors: Mapping[str, Tensor], nodes: Tensor, value: float) -> None:
    """Set everything in the slices that belongs to the chosen nodes: bool, shape ``(num_nodes,)``, or positions."""
    for piece in slices:
        tensors[piece.parameter].detach().index_fill_(piece.dim, piece.index[nodes].flatten(), value)


def mark(chosen: Iterable[tuple[Slice, Tensor]], tensors: Mapping[str, Tensor]) -> dict[tuple[str, int], Tensor]:
    """Which positions belong to chosen nodes, by tensor name and dimension: bool, one entry a position.

    Each slice comes with the chosen ones of its nodes: bool, shape ``(num_nodes,)``.
    """
    marked: dict[tuple[str, int], Tensor] = {}
    for piece, nodes in chosen:
        size = tensors[piece.parameter].shape[piece.dim]
        mask = marked.setdefault((piece.parameter, piece.dim), torch.zeros(size, dtype=torch.bool, device=nodes.device))
        mask[piece.index[nodes].flatten()] = True
    return marked


def lay_out(
    pieces: Iterable[tuple[Slice, Tensor]], tensors: Mapping[str, Tensor], default: float
) -> dict[tuple[str, int], Tensor]:
    """Spread one value per node over the positions that belong to it, and a default over all others.

    Args:
        pieces: Slices, each with its nodes' values, shape ``(num_nodes,)``.
        tensors: The tensors by name.
        default: Value of positions that belong to no node.

    Returns:
        By tensor name and dimension, a tensor that broadcasts to the named one.
    """
    spread: dict[tuple[str, int], Tensor] = {}
    for piece, values in pieces:
        tensor = tensors[piece.parameter]
        shape = [1] * tensor.ndim
        shape[piece.dim] = tensor.shape[piece.dim]
        full = torch.full(shape, default, dtype=values.dtype, device=values.device)
        spread.setdefault((piece.parameter, piece.dim), full).view(-1)[piece.index] = values[:, None]
    return spread
