"""Anchors after an expansion: the same values, with zeros for connections from nodes that are new."""

from __future__ import annotations

import torch
from torch import Tensor

from agscl.methods.method import Network
from agscl.nodes import Expansion, NodeLayer
from agscl.nodes.slices import gather, scatter


def grown_anchor(network: Network, layer: NodeLayer, anchor: Tensor, important: Tensor, expansion: Expansion) -> Tensor:
    """An anchor of the network in its new shape.

    Args:
        network: The network in its old shape.
        layer: The layer of the anchor, in its old shape.
        anchor: Group vectors of its important nodes, one row a node.
        important: Which nodes these are: bool, shape ``(num_nodes,)``.
        expansion: How the network grew.
    """
    shapes = {piece.parameter: network.state[piece.parameter] for piece in layer.incoming}
    tensors = {name: torch.zeros_like(tensor) for name, tensor in shapes.items()}
    rows = gather(layer.incoming, tensors)
    rows[important] = anchor
    scatter(layer.incoming, tensors, rows)
    grown = {name: expansion.grown(name, tensor) for name, tensor in tensors.items()}
    later = next(found for found in expansion.graph.layers if found.name == layer.name)
    return gather(later.incoming, grown)[: layer.num_nodes][important]
