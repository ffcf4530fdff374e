"""Weights that the user has frozen (``requires_grad=False``): what must be kept because they cannot be changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agscl.nodes import Slice
from agscl.nodes.slices import fill, gather

from .method import Learned, Network


def require_needed(
    network: Network, activations: dict[str, Tensor], important: Mapping[str, Tensor], learned: Learned
) -> None:
    """Count as needed, in place, silent nodes that cannot be cut off: a weight that leaves them is frozen by the user.

    Such a weight stays as it is. If it is not zero and leads to a node or head that a task needs, the node behind it
    must not begin to act later: it gets the smallest positive activation. The same holds for what leads to it in turn.

    Args:
        network: The network.
        activations: Average activation by layer, shape ``(num_nodes,)``.
        important: By layer, which nodes earlier tasks need: bool, shape ``(num_nodes,)``.
        learned: The task just learned.
    """
    graph = network.graph
    heads = frozenset(name for task in learned.tasks for name in graph.head_of(task))
    fixed = {n: p.detach() != 0 for n, p in network.parameters.items() if not p.requires_grad}
    leaving = {n.name: [p for p in n.outgoing if p.parameter in fixed] for n in graph.layers}
    leaving = {name: pieces for name, pieces in leaving.items() if pieces}
    changed = bool(leaving)
    while changed:
        changed = False
        needed = {name: important[name] | (activations[name] > 0) for name in activations}
        into = {piece.parameter: fixed[piece.parameter].clone() for pieces in leaving.values() for piece in pieces}
        for name in into.keys() & (graph.head_parameters - heads):
            into[name].zero_()
        for layer in graph.layers:
            fill([piece for piece in layer.incoming if piece.parameter in into], into, ~needed[layer.name], False)
        for name, pieces in leaving.items():
            missed = gather(pieces, into).any(dim=1) & ~needed[name]
            activations[name][missed] = torch.finfo(activations[name].dtype).tiny
            changed |= bool(missed.any())


def columns_of(
    chosen: Sequence[Slice], pieces: Sequence[Slice], vectors: Tensor, tensors: Mapping[str, Tensor]
) -> Tensor:
    """The columns of group vectors that belong to some of the slices that they are made of.

    Args:
        chosen: The slices wanted, in the order of `pieces`.
        pieces: All slices of the group vectors.
        vectors: Group vectors, shape ``(n, columns)``.
        tensors: What the slices speak of, by name.
    """
    if len(chosen) == len(pieces):
        return vectors
    widths = [gather([piece], tensors).shape[1] for piece in pieces]
    names = {piece.parameter for piece in chosen}
    parts = zip(pieces, vectors.split(widths, dim=1), strict=True)
    return torch.cat([part for piece, part in parts if piece.parameter in names], dim=1)
