"""What AGS-CL keeps of every node between tasks: importance, age, anchors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agscl.methods.masks import FREE
from agscl.methods.method import Network
from agscl.nodes import Expansion, NodeLayer
from agscl.nodes.slices import gather, scatter
from agscl.tensors import prefixed, under


def penalised(network: Network) -> list[NodeLayer]:
    """The layers that the penalties of equation (2) are for: all but residual streams."""
    return [layer for layer in network.graph.layers if layer.kind == "nodes"]


class NodeState:
    """Three tensors for each layer, by its name.

    Attributes:
        importance: Omega of equation (8), shape ``(num_nodes,)``.
        since: How many tasks were learned when each node became important, `FREE` if it is not; int64, same shape.
        anchors: What the important nodes learned, one group vector a row; no rows if they are frozen exactly.
    """

    def __init__(self, network: Network) -> None:
        layers = network.graph.layers
        self.importance = {n.name: torch.zeros(n.num_nodes, device=n.incoming[0].index.device) for n in layers}
        self.since = {n: torch.full_like(omega, FREE, dtype=torch.int64) for n, omega in self.importance.items()}
        self.anchors = {layer.name: gather(layer.incoming, network.state)[:0] for layer in penalised(network)}

    def important(self) -> dict[str, Tensor]:
        """Which nodes are important, by layer: bool, shape ``(num_nodes,)``."""
        return {name: omega > 0 for name, omega in self.importance.items()}

    def free(self) -> dict[str, Tensor]:
        """Which nodes are not, by layer."""
        return {name: omega == 0 for name, omega in self.importance.items()}

    def grow(self, network: Network, expansion: Expansion) -> None:
        """Take new nodes, which are free; anchors get zeros for connections from them.

        Args:
            network: The network in its old shape.
            expansion: How it grew.
        """
        important = self.important()
        pairs = zip(network.graph.layers, expansion.graph.layers, strict=True)
        for layer, later in [pair for pair in pairs if pair[0].name in self.anchors]:
            anchor = self.anchors[layer.name]
            anchored = important[layer.name] & (len(anchor) > 0)  # hard freezing keeps no anchors
            tensors = {piece.parameter: torch.zeros_like(network.state[piece.parameter]) for piece in layer.incoming}
            rows = gather(layer.incoming, tensors)
            rows[anchored] = anchor
            scatter(layer.incoming, tensors, rows)
            grown = {name: expansion.grown(name, tensor) for name, tensor in tensors.items()}
            self.anchors[layer.name] = gather(later.incoming, grown)[: layer.num_nodes][anchored]
        name, new = expansion.layer, (expansion.num_new,)
        self.importance[name] = torch.cat([self.importance[name], self.importance[name].new_zeros(new)])
        self.since[name] = torch.cat([self.since[name], self.since[name].new_full(new, FREE)])

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, to be saved."""
        return prefixed(importance=self.importance, since=self.since, anchor=self.anchors)

    def blank(self, tensors: Mapping[str, Tensor], *, anchored: bool) -> dict[str, Tensor]:
        """What a saved state with this importance must look like, for `restored`."""
        expected = self.tensors()
        for name, anchor in self.anchors.items():
            omega = tensors.get(f"importance.{name}", self.importance[name])
            expected[f"anchor.{name}"] = anchor.new_empty(int((omega > 0).sum()) if anchored else 0, anchor.shape[1])
        return expected

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state that fits."""
        self.importance, self.since = under("importance", tensors), under("since", tensors)
        self.anchors = under("anchor", tensors)
