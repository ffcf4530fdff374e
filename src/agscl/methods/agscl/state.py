"""What AGS-CL keeps of every node between tasks: importance, age, anchors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agscl.methods.masks import FREE
from agscl.methods.method import Network, named
from agscl.nodes.slices import gather


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
        self.anchors = {layer.name: gather(layer.incoming, network.state)[:0] for layer in layers}

    def important(self) -> dict[str, Tensor]:
        """Which nodes are important, by layer: bool, shape ``(num_nodes,)``."""
        return {name: omega > 0 for name, omega in self.importance.items()}

    def free(self) -> dict[str, Tensor]:
        """Which nodes are not, by layer."""
        return {name: omega == 0 for name, omega in self.importance.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, to be saved."""
        return named(importance=self.importance, since=self.since, anchor=self.anchors)

    def blank(self, tensors: Mapping[str, Tensor], *, anchored: bool) -> dict[str, Tensor]:
        """What a saved state with this importance must look like, for `same_shapes`."""
        expected = self.tensors()
        for name, anchor in self.anchors.items():
            omega = tensors.get(f"importance.{name}", self.importance[name])
            expected[f"anchor.{name}"] = anchor.new_empty(int((omega > 0).sum()) if anchored else 0, anchor.shape[1])
        return expected

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state that fits."""
        for group, own in (("importance", self.importance), ("since", self.since), ("anchor", self.anchors)):
            own.update({name: tensors[f"{group}.{name}"].to(tensor, copy=True) for name, tensor in own.items()})
