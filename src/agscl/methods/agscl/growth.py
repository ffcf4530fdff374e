"""AGS-CL after an expansion: new nodes are free, and anchors get zeros for connections from them."""

from __future__ import annotations

import torch

from agscl.methods.masks import FREE
from agscl.methods.method import Network
from agscl.nodes import Expansion
from agscl.nodes.slices import gather, scatter

from .state import NodeState


def grow(state: NodeState, network: Network, expansion: Expansion) -> None:
    """Fit what is kept of the nodes to the network's new shape.

    Args:
        state: Changed in place.
        network: The network in its old shape.
        expansion: How it grew.
    """
    important = state.important()
    for layer, later in zip(network.graph.layers, expansion.graph.layers, strict=True):
        anchor = state.anchors[layer.name]
        anchored = important[layer.name] & (len(anchor) > 0)  # hard freezing keeps no anchors
        tensors = {piece.parameter: torch.zeros_like(network.state[piece.parameter]) for piece in layer.incoming}
        rows = gather(layer.incoming, tensors)
        rows[anchored] = anchor
        scatter(layer.incoming, tensors, rows)
        grown = {name: expansion.grown(name, tensor) for name, tensor in tensors.items()}
        state.anchors[layer.name] = gather(later.incoming, grown)[: layer.num_nodes][anchored]
    name, new = expansion.layer, (expansion.num_new,)
    state.importance[name] = torch.cat([state.importance[name], state.importance[name].new_zeros(new)])
    state.since[name] = torch.cat([state.since[name], state.since[name].new_full(new, FREE)])
