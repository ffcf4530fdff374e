"""Expansion: new nodes in a layer of a model, in place, without any change in what it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.graph import NodeGraph, NodeLayer, Slice
from agscl.nodes.slices import fill

from .copies import plain_copy
from .resize import replace_tensors
from .widened import can_widen, widen

Retrace = Callable[[nn.Module], NodeGraph]
"""Finds the nodes of the model in its new shape."""


@dataclass(frozen=True)
class Expansion:
    """How the tensors of a model grew.

    Attributes:
        graph: The nodes after it; the new ones are the last of their layer.
        layer: Name of the layer that has new nodes.
        num_new: How many.
        places: By tensor name and dimension, positions of the old entries among the new, ascending.
        shapes: By tensor name, the new shapes.
    """

    graph: NodeGraph
    layer: str
    num_new: int
    places: Mapping[str, Mapping[int, Tensor]]
    shapes: Mapping[str, torch.Size]

    def grown(self, name: str, tensor: Tensor, into: Tensor | None = None) -> Tensor:
        """A tensor of the old shape in its places within one of the new shape: `into`, which is changed, or zeros."""
        places = self.places.get(name, {})
        if not places:
            return tensor
        if into is None:
            into = tensor.new_zeros(self.shapes[name])
        index = [places.get(dim, torch.arange(size, device=into.device)) for dim, size in enumerate(tensor.shape)]
        into[torch.meshgrid(*index, indexing="ij")] = tensor.to(into.dtype)
        return into


@torch.no_grad()
def expand(model: nn.Module, graph: NodeGraph, layer: str, nodes: int, retrace: Retrace) -> Expansion:
    """Add nodes to a layer of a model.

    What comes into a new node is drawn from its modules' own initialisers, what goes out of it is zero. The old part of
    every layer is computed as before, in calls of the same shapes, so that outputs keep their bits.

    Args:
        model: Changed in place: its tensors of the layer and of what reads it are replaced.
        graph: Its nodes.
        layer: Name of the layer, see ``print(graph)``.
        nodes: How many nodes to add.
        retrace: Traces the model in its new shape.

    Raises:
        ValueError: If there is no such layer, or it cannot grow; the model is unchanged then.
    """
    chosen = _layer(graph, layer)
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, not {nodes}")
    _check(model, chosen)
    grown = plain_copy(model)
    _enlarge(grown, chosen, nodes)
    new = _retraced(grown, graph, chosen, nodes, retrace)
    state = dict(grown.state_dict())
    places = _places(graph, new, chosen, state)
    shapes = {name: state[name].shape for name in places}
    expansion = Expansion(new, layer, nodes, places, shapes)
    for name in expansion.places:
        expansion.grown(name, model.state_dict()[name], state[name])
    fill(_layer(new, layer).outgoing, state, torch.arange(nodes) + chosen.num_nodes, 0.0)
    replace_tensors(model, {name: state[name].detach() for name in expansion.places})
    _widen(model, expansion)
    return expansion


def _layer(graph: NodeGraph, name: str) -> NodeLayer:
    found = [layer for layer in graph.layers if layer.name == name]
    if not found:
        raise ValueError(f"there is no layer {name!r}; there are: {', '.join(layer.name for layer in graph.layers)}")
    return found[0]


def _check(model: nn.Module, layer: NodeLayer) -> None:
    """Refuse layers whose modules are not known to grow."""
    for path in dict.fromkeys(piece.parameter.rpartition(".")[0] for piece in layer.incoming + layer.outgoing):
        module = model.get_submodule(path)
        if not (can_widen(module) or isinstance(module, nn.modules.batchnorm._NormBase)):
            kind = type(module).__name__
            raise ValueError(
                f"cannot add nodes to {layer.name!r}: {path!r} ({kind}) is none of the modules that grow: "
                "Linear, Conv1d, Conv2d without groups or depthwise, batch and instance norm"
            )


def _enlarge(model: nn.Module, layer: NodeLayer, nodes: int) -> None:
    """Tensors of the new sizes, drawn anew."""
    state, sizes = dict(model.state_dict()), dict[str, list[int]]()
    for piece in layer.incoming + layer.outgoing + layer.statistics:
        size = sizes.setdefault(piece.parameter, list(state[piece.parameter].shape))
        size[piece.dim] += nodes * piece.index.shape[1]
    replace_tensors(model, {name: state[name].new_zeros(size) for name, size in sizes.items()})
    for path in dict.fromkeys(name.rpartition(".")[0] for name in sizes):
        model.get_submodule(path).reset_parameters()  # type: ignore[operator]


def _retraced(model: nn.Module, graph: NodeGraph, layer: NodeLayer, nodes: int, retrace: Retrace) -> NodeGraph:
    """The new graph; it must be the old one with more nodes in the layer."""
    refusal = f"cannot add nodes to {layer.name!r}: the forward relies on their number (a constant in a view, say)"
    try:
        new = retrace(model)
    except ValueError as error:
        raise ValueError(f"{refusal}: {error}") from error
    expected = {old.name: old.num_nodes + nodes * (old.name == layer.name) for old in graph.layers}
    if {found.name: found.num_nodes for found in new.layers} != expected:
        raise ValueError(refusal)
    return new


def _places(
    graph: NodeGraph, new: NodeGraph, layer: NodeLayer, state: Mapping[str, Tensor]
) -> dict[str, dict[int, Tensor]]:
    """Where the old entries lie in every tensor that grew: all but those of the new nodes, in order."""
    places: dict[str, dict[int, Tensor]] = {}
    later = _layer(new, layer.name)
    for piece in later.incoming + later.outgoing + later.statistics:
        mask = torch.ones(state[piece.parameter].shape[piece.dim], dtype=torch.bool, device=piece.index.device)
        mask[piece.index[layer.num_nodes :].flatten()] = False
        places.setdefault(piece.parameter, {})[piece.dim] = mask.nonzero().flatten()
    for old, found in zip(graph.layers, new.layers, strict=True):
        _check_moved(old, found, places)
    return places


def _check_moved(old: NodeLayer, new: NodeLayer, places: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Old nodes must be where their old entries are."""
    twins: list[tuple[Slice, Slice]] = list(zip(old.incoming + old.outgoing, new.incoming + new.outgoing, strict=True))
    for before, after in twins:
        moved = places.get(before.parameter, {}).get(before.dim)
        expected = before.index if moved is None else moved[before.index]
        if before.parameter != after.parameter or not torch.equal(after.index[: old.num_nodes], expected):
            raise ValueError(f"cannot add nodes to {old.name!r}: old and new nodes lie in mixed order")


def _widen(model: nn.Module, expansion: Expansion) -> None:
    """Let every layer that grew compute its old part as before."""
    for path in dict.fromkeys(name.rpartition(".")[0] for name in expansion.places):
        module: Any = model.get_submodule(path)
        if can_widen(module):
            weight, places = module.weight, expansion.places[f"{path}.weight"]
            every = [torch.arange(size, device=weight.device) for size in weight.shape[:2]]
            rows = places.get(0, every[0])
            depthwise = getattr(module, "groups", 1) > 1
            columns = _old_groups(module, rows) if depthwise else places.get(1, every[1])
            widen(module, rows, columns)


def _old_groups(module: Any, rows: Tensor) -> Tensor:
    """Input channels of a depthwise convolution whose filters are old."""
    channels: Tensor = (rows // (module.out_channels // module.groups)).unique()
    return channels
