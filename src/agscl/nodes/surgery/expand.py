"""Expansion: new nodes in a layer of a model, in place, without any change in what it computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from agscl.nodes.graph import NodeGraph, NodeLayer
from agscl.nodes.layers import GROWING, WIDENED, kind_of
from agscl.nodes.layers.widened import laid_out_like, widen
from agscl.nodes.slices import fill, mark
from agscl.nodes.tracing.trace import arguments, eval_mode

from .copies import plain_copy, random_inputs, replace_tensors

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

    def of_nodes(self, layer: str, values: Tensor, new: float) -> Tensor:
        """One value a node of a layer, with a value for the new ones: shape ``(num_nodes,)`` of before, and of now."""
        return torch.cat([values, values.new_full((self.num_new,), new)]) if layer == self.layer else values

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
def expand(
    model: nn.Module, graph: NodeGraph, layer: str, nodes: int, retrace: Retrace, example_inputs: Any = None
) -> Expansion:
    """Add nodes to a layer of a model.

    What comes into a new node is drawn from its modules' own initialisers, what goes out of it is zero. The old part of
    every layer is computed as before, in calls of the same shapes and layouts, so that outputs keep their bits.

    >>> from agscl import trace
    >>> model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.ones(2, 3)
    >>> before = model(x)
    >>> expansion = expand(model, trace(model, x), "0", 2, lambda grown: trace(grown, x))
    >>> expansion.graph.num_nodes, torch.equal(model(x), before)
    (6, True)

    Args:
        model: Changed in place: its tensors of the layer and of what reads it are replaced.
        graph: Its nodes.
        layer: Name of the layer, see ``print(graph)``.
        nodes: How many nodes to add.
        retrace: Traces the model in its new shape.
        example_inputs: If given, it is tried on a copy first whether outputs for inputs like these keep their bits.

    Raises:
        ValueError: If there is no such layer, it cannot grow, or outputs would change; the model is unchanged then.
    """
    if example_inputs is not None:
        require_expandable(copy.deepcopy(model), graph, layer, nodes, retrace, example_inputs)
    chosen = _layer(graph, layer)
    if chosen.kind == "stream":
        raise ValueError(f"cannot add nodes to {layer!r}: it is a residual stream, which is one node")
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, not {nodes}")
    for path in _modules(piece.parameter for piece in chosen.incoming + chosen.outgoing):
        module = model.get_submodule(path)
        kind = kind_of(module)
        if not kind.grows(module) or (kind.product is not None and type(module) not in WIDENED):
            raise ValueError(
                f"cannot add nodes to {layer!r}: {path!r} ({type(module).__name__}) is none of the modules that "
                f"grow: {GROWING}"
            )
    grown, new = _grown(model, graph, chosen, nodes, retrace)
    state, old = dict(grown.state_dict()), model.state_dict()
    places = _places(graph, new, chosen, state)
    expansion = Expansion(new, layer, nodes, places, {name: state[name].shape for name in places})
    for name in places:
        expansion.grown(name, old[name], state[name])
    fill(_layer(new, layer).outgoing, state, torch.arange(nodes) + chosen.num_nodes, 0.0)
    replace_tensors(model, {name: laid_out_like(old[name], state[name].detach()) for name in places})
    _widen(model, places)
    return expansion


@torch.no_grad()
def require_expandable(
    trial: nn.Module, graph: NodeGraph, layer: str, nodes: int, retrace: Retrace, example_inputs: Any
) -> None:
    """Refuse to add nodes where the outputs would change; arguments as in `expand`, of a copy that gets them.

    Raises:
        ValueError: If the layer cannot grow, or outputs for inputs like these do not keep their bits.
    """
    given = arguments(example_inputs)
    inputs = random_inputs(given, torch.Generator().manual_seed(0))
    args, named = tree_map(lambda x, new: laid_out_like(x, new) if isinstance(x, Tensor) else new, given, inputs)
    with torch.random.fork_rng(), eval_mode(trial):
        before = tree_leaves(trial(*args, **named))
        expand(trial, graph, layer, nodes, retrace)
        after = tree_leaves(trial(*args, **named))
    if not all(torch.equal(*pair) for pair in zip(before, after, strict=True) if isinstance(pair[0], Tensor)):
        raise ValueError(
            f"cannot add nodes to {layer!r}: the outputs would change, since the forward relies on the number of "
            "nodes or sums over them in an order that depends on it"
        )


def _layer(graph: NodeGraph, name: str) -> NodeLayer:
    layers = {layer.name: layer for layer in graph.layers}
    if name not in layers:
        raise ValueError(f"there is no layer {name!r}; there are: {', '.join(layers)}")
    return layers[name]


def _modules(names: Iterable[str]) -> list[str]:
    """Paths of the modules that hold the named tensors."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


def _grown(
    model: nn.Module, graph: NodeGraph, layer: NodeLayer, nodes: int, retrace: Retrace
) -> tuple[nn.Module, NodeGraph]:
    """A copy in the new sizes, re-initialised there, and its graph: it must be the old one with more nodes."""
    grown, state = plain_copy(model), model.state_dict()
    sizes: dict[str, list[int]] = {}
    for piece in layer.incoming + layer.outgoing + layer.statistics:
        size = sizes.setdefault(piece.parameter, list(state[piece.parameter].shape))
        size[piece.dim] += nodes * piece.index.shape[1]
    replace_tensors(grown, {name: state[name].new_zeros(size) for name, size in sizes.items()})
    for path in _modules(sizes):
        grown.get_submodule(path).reset_parameters()  # type: ignore[operator]
    refusal = f"cannot add nodes to {layer.name!r}: the forward relies on their number (a constant in a view, say)"
    try:
        new = retrace(grown)
    except ValueError as error:
        raise ValueError(f"{refusal}: {error}") from error
    expected = {old.name: old.num_nodes + nodes * (old.name == layer.name) for old in graph.layers}
    if {later.name: later.num_nodes for later in new.layers} != expected:
        raise ValueError(refusal)
    return grown, new


def _places(
    graph: NodeGraph, new: NodeGraph, layer: NodeLayer, state: Mapping[str, Tensor]
) -> dict[str, dict[int, Tensor]]:
    """Where the old entries lie in every tensor that grew: all but those of the new nodes, in order."""
    places: dict[str, dict[int, Tensor]] = {}
    grown = _layer(new, layer.name)
    pieces = grown.incoming + grown.outgoing + grown.statistics
    added = torch.arange(grown.num_nodes, device=pieces[0].index.device) >= layer.num_nodes
    for (name, dim), mask in mark(((piece, added) for piece in pieces), state).items():
        places.setdefault(name, {})[dim] = (~mask).nonzero().flatten()
    for old, later in zip(graph.layers, new.layers, strict=True):
        for before, after in zip(old.incoming + old.outgoing, later.incoming + later.outgoing, strict=True):
            moved = places.get(before.parameter, {}).get(before.dim)
            expected = before.index if moved is None else moved[before.index]
            if before.parameter != after.parameter or not torch.equal(after.index[: old.num_nodes], expected):
                raise ValueError(f"cannot add nodes to {old.name!r}: old and new nodes lie in mixed order")
    return places


def _widen(model: nn.Module, places: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Let every layer of rows and columns that grew compute its old part as before."""
    for path in _modules(places):
        module: Any = model.get_submodule(path)
        if type(module) in WIDENED:
            wide, grown, weight = WIDENED[type(module)], places[f"{path}.weight"], module.weight
            old = [
                grown.get(dim, torch.arange(size, device=weight.device)) for dim, size in enumerate(weight.shape[:2])
            ]
            rows, columns = old[wide.product.row_dim], old[1 - wide.product.row_dim]
            if getattr(module, "groups", 1) > 1:  # depthwise: the old channels are those with old filters
                filters = module.out_channels // module.groups
                columns = old[0] if wide.product.row_dim else (old[0] // filters).unique()
                rows = (filters * columns[:, None] + torch.arange(filters, device=weight.device)).flatten()
            widen(module, wide, rows, columns)
