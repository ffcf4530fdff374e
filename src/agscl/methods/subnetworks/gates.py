"""Gates: what a task does not use is switched off where the operation runs, whatever it has become meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import reduce

import torch
from torch import Tensor

from agscl.methods.masks import frozen_between
from agscl.methods.method import Network
from agscl.nodes import NodeGraph, NodeLayer, Slice


def gated_layers(graph: NodeGraph) -> list[NodeLayer]:
    """The layers with gates: all but the residual streams, which every task uses."""
    return [layer for layer in graph.layers if layer.kind == "nodes"]


class NodePlaces:
    """Where the nodes of a graph stand in the model's tensors: in what comes into them, and in what leaves them.

    Residual streams are left out: every task uses them, they have no gate.

    Attributes:
        leaving: By tensor name, the places of nodes in what leaves them.
        entering: By tensor name, the places of nodes in what comes into them, statistics of norm layers included.
    """

    def __init__(self, graph: NodeGraph, tensors: Mapping[str, Tensor]) -> None:
        self.leaving: dict[str, list[_Place]] = defaultdict(list)
        self.entering: dict[str, list[_Place]] = defaultdict(list)
        for layer in gated_layers(graph):
            for side, pieces in (
                (self.leaving, layer.outgoing),
                (self.entering, (*layer.incoming, *layer.statistics)),
            ):
                for piece in pieces:
                    side[piece.parameter].append(_Place(layer.name, layer.num_nodes, piece, tensors[piece.parameter]))

    @property
    def names(self) -> set[str]:
        """Names of all tensors with nodes."""
        return {*self.leaving, *self.entering}

    def scaled(self, name: str, tensor: Tensor, factors: Mapping[str, Tensor]) -> Tensor:
        """A tensor times the factors of the nodes that it leaves.

        Args:
            name: Its name.
            tensor: Its value.
            factors: By layer, shape ``(num_nodes,)``; layers without are left alone.
        """
        for place in self.leaving.get(name, ()):
            if place.layer in factors:
                tensor = torch.mul(tensor, place.spread(factors[place.layer].to(tensor.dtype), tensor.ndim))
        return tensor

    def switched_off(self, name: str, tensor: Tensor, used: Mapping[str, Tensor]) -> Tensor:
        """A tensor with zeros for all that comes into or leaves nodes which are not used, whatever stands there.

        A product with zero would not do: infinite or not a number stays what it is. What comes in is switched off as
        well, so that no activation is too large for its product with zero.

        Args:
            name: Its name.
            tensor: Its value.
            used: By layer, bool, shape ``(num_nodes,)``; layers without are left alone.
        """
        for place in (*self.leaving.get(name, ()), *self.entering.get(name, ())):
            if place.layer in used:
                tensor = torch.where(place.spread(used[place.layer], tensor.ndim), tensor, 0.0)
        return tensor


class _Place:
    """The nodes of a layer along a dimension of a tensor."""

    def __init__(self, layer: str, num_nodes: int, piece: Slice, tensor: Tensor) -> None:
        self.layer, self._dim = layer, piece.dim
        nodes = torch.full((tensor.shape[piece.dim],), num_nodes)  # one more than the last: none of them
        nodes[piece.index.cpu()] = torch.arange(num_nodes).unsqueeze(1)
        self._nodes = None if torch.equal(nodes, torch.arange(num_nodes)) else nodes

    def spread(self, values: Tensor, ndim: int) -> Tensor:
        """One value a node over the positions, 1 elsewhere, of a shape that broadcasts to the tensor."""
        if self._nodes is not None:
            self._nodes = self._nodes.to(values.device)  # moves once
            values = torch.cat([values, values.new_ones(1)]).index_select(0, self._nodes)
        return values.view([-1 if dim == self._dim else 1 for dim in range(ndim)])


def frozen_by_each(network: Network, uses: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What some task computes with: weights of which one and the same task uses both ends.

    Less than what lies between nodes that any two tasks use (`frozen_between` of their union): a weight from a node of
    one task to a node of another is free, since each task switches one of its ends off.

    Args:
        network: The network.
        uses: For each task, by layer, which nodes it uses: bool, shape ``(num_nodes,)``.

    Returns:
        By parameter name, a bool tensor that broadcasts to it; parameters with none are left out.
    """
    frozen: dict[str, Tensor] = {}
    for used in uses:
        for name, mask in frozen_between(network, used).items():
            frozen[name] = frozen[name] | mask if name in frozen else mask
    return frozen


def used_by_any(uses: Iterable[Mapping[str, Tensor]], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By layer, which nodes any task uses; none if there are no tasks.

    >>> used_by_any([{"fc": torch.tensor([True, False])}], {"fc": torch.ones(2)})
    {'fc': tensor([ True, False])}
    """
    uses = list(uses)
    nobody = {name: torch.zeros_like(tensor, dtype=torch.bool) for name, tensor in like.items()}
    return {name: reduce(torch.logical_or, [used[name] for used in uses], mask) for name, mask in nobody.items()}
