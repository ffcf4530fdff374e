"""Gates on residual streams: an earlier task is answered without the nodes that became important after it.

A stream is a node that every task uses. Later tasks write into it with nodes of their own, so that what reads the
stream for an earlier task must not see them. In a network without streams no gate is needed: there, weights from later
nodes into earlier ones are zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from agscl.methods.masks import merged
from agscl.methods.method import Network
from agscl.nodes.slices import lay_out
from agscl.nodes.surgery.replaced import replace_tensors_in_forward


class StreamGates:
    """Cuts later nodes off while an earlier task is answered, in the forward alone: no weight changes.

    Attributes:
        order: Numbers of the learned tasks, in the order in which they were learned.
    """

    def __init__(self, network: Network) -> None:
        self.order: list[int] = []
        self._network = network
        self._masks: dict[str, Tensor] = {}
        written = {piece.parameter for stream in network.graph.streams for piece in stream.incoming}
        self._writers = [
            layer
            for layer in network.graph.layers
            if layer.kind == "nodes" and any(piece.parameter in written for piece in layer.outgoing)
        ]
        pieces = [piece for layer in self._writers for piece in layer.incoming + layer.outgoing]
        names = sorted({piece.parameter for piece in pieces} - network.graph.head_parameters)
        replace_tensors_in_forward(network.model, names, self._gated, network.graph.users)

    def show(self, task: int | None, since: Mapping[str, Tensor]) -> None:
        """Answer a learned task, or, for `None` or a task that is not learned, with all nodes.

        Args:
            task: Number of the task.
            since: By layer, how many tasks were learned when each node became important.
        """
        self._masks = {}
        if task in self.order:
            learned = self.order.index(task) + 1
            later = {layer.name: since[layer.name] > learned for layer in self._writers}
            # What comes into them as well: their activations may be too large for a product with zero.
            pieces = ((p, later[layer.name]) for layer in self._writers for p in layer.incoming + layer.outgoing)
            self._masks = merged(lay_out(pieces, self._network.state, False))

    def adapt(self, network: Network) -> None:
        """Go on with a network that has new nodes; all nodes answer."""
        names = {layer.name for layer in self._writers}
        self._network, self._masks = network, {}
        self._writers = [layer for layer in network.graph.layers if layer.name in names]

    def tensors(self) -> dict[str, Tensor]:
        """The order, to be saved; nothing for a network without streams."""
        return {"order": torch.tensor(self.order, dtype=torch.int64)} if self._writers else {}

    def blank(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a saved state must look like, for `restored`."""
        like = torch.empty(len(tensors.get("order", ())), dtype=torch.int64)
        return {"order": like} if self._writers else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take a saved state that fits; all nodes answer."""
        self.order, self._masks = state["order"].tolist() if self._writers else [], {}

    def _gated(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        return own.masked_fill(self._masks[name], 0.0) if name in self._masks else own
