"""Compact models: a copy from which nodes are physically removed, for nodes that the outputs do not depend on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from agscl.nodes.graph import NodeGraph
from agscl.nodes.layers import kind_of
from agscl.nodes.slices import fill, mark
from agscl.nodes.tracing.trace import arguments, eval_mode

from .copies import plain_copy, random_inputs, replace_tensors, tensors_of
from .reach import no_nodes

Nodes = Mapping[str, Tensor]
"""Chosen nodes: by layer, bool, shape ``(num_nodes,)``; layers without any may be left out."""

Positions = Mapping[str, Mapping[int, Tensor]]
"""What is kept of tensors: by name and dimension, ascending positions; what is not named stays whole."""


def compact(model: nn.Module, graph: NodeGraph, drop: Nodes, example_inputs: Any) -> nn.Module:
    """A copy without the dropped nodes: their rows, columns and statistics are gone from all tensors.

    The copy computes what the model computes wherever the dropped nodes contribute exactly zero to all that is kept,
    see `agscl.nodes.inert_nodes`. It is checked once on random weights, so that a forward that relies on the number of
    nodes is found out.

    >>> from agscl import trace
    >>> model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.ones(2, 3)
    >>> compact(model, trace(model, x), {"0": torch.tensor([True, False, False, True])}, x)[0]
    Linear(in_features=3, out_features=2, bias=True)

    Args:
        model: The traced model; it is not changed.
        graph: Its nodes.
        drop: Nodes to remove; see `removable` for those that cannot go alone.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself.

    Raises:
        ValueError: If nodes cannot be removed; the message names their layers.
    """
    whole = _structural(model, graph, drop)
    if refused := [repr(name) for name, nodes in drop.items() if not torch.equal(nodes, whole[name])]:
        raise ValueError(
            f"cannot remove these nodes of {', '.join(refused)}: a tensor must keep one position, and channels of a "
            "grouped convolution go by whole groups; drop what `removable` leaves of them"
        )
    if not _agrees(model, graph, drop, example_inputs):
        guilty = [name for name in drop if not _agrees(model, graph, {name: drop[name]}, example_inputs)]
        raise ValueError(
            f"cannot remove nodes of {', '.join(map(repr, guilty or drop))}: the forward relies on their number (a "
            "constant in a view, split or functional call, say); drop what `removable` leaves of them"
        )
    return cut_out(model, kept_positions(graph, drop, tensors_of(model)))


def cut_out(model: nn.Module, positions: Positions) -> nn.Module:
    """A deep copy of a model with parts of its tensors, unchecked."""
    copied = plain_copy(model)
    tensors = tensors_of(copied)
    replace_tensors(copied, {name: part(tensors[name].detach(), kept) for name, kept in positions.items()})
    return copied


def part(tensor: Tensor, kept: Mapping[int, Tensor]) -> Tensor:
    """The kept positions of a tensor; autograd brings gradients back to their places."""
    for dim, positions in kept.items():
        tensor = tensor.index_select(dim, positions)
    return tensor


def kept_positions(graph: NodeGraph, drop: Nodes, tensors: Mapping[str, Tensor]) -> dict[str, dict[int, Tensor]]:
    """What stays of each tensor that is touched when nodes go."""
    layers = [layer for layer in graph.layers if layer.name in drop]
    owned = [(layer.name, layer.incoming + layer.outgoing + layer.statistics) for layer in layers]
    positions: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for (name, dim), dropped in mark(((piece, drop[of]) for of, pieces in owned for piece in pieces), tensors).items():
        if dropped.any():
            positions[name][dim] = (~dropped).nonzero().flatten()
    return dict(positions)


def removable(model: nn.Module, graph: NodeGraph, drop: Nodes, example_inputs: Any) -> dict[str, Tensor]:
    """Those of the nodes that can go, for `compact`.

    Every tensor keeps a position, grouped convolutions lose whole groups, and layers stay whole if the forward relies
    on the number of their nodes, which is found by trying.
    """
    left = _structural(model, graph, drop)
    if not _agrees(model, graph, left, example_inputs):
        alone = {name: _structural(model, graph, {name: nodes}) for name, nodes in left.items() if nodes.any()}
        fits = {name: left[name] for name, own in alone.items() if _agrees(model, graph, own, example_inputs)}
        left = _structural(model, graph, fits)
        if not _agrees(model, graph, left, example_inputs):
            left = {}
    return {name: left.get(name, torch.zeros_like(nodes)) for name, nodes in drop.items()}


def _structural(model: nn.Module, graph: NodeGraph, drop: Nodes) -> dict[str, Tensor]:
    """Those of the nodes that leave every tensor a position and grouped convolutions whole groups.

    A node that stays can make others stay, so this goes on until no more do. For example, all four channels that a
    convolution reads in two groups are to go. It would keep no input, so channel 0 stays; now its group does not go as
    a whole, so channel 1 stays as well.
    """
    tensors = tensors_of(model)
    left = {name: nodes.clone() for name, nodes in drop.items()}
    while True:
        stay = {(name, 0): rows for name, rows in _torn_groups(model, graph, left).items()}
        for name, kept in kept_positions(graph, left, tensors).items():
            for dim in [dim for dim, positions in kept.items() if not len(positions)]:
                stay[name, dim] = torch.arange(tensors[name].shape[dim], device=tensors[name].device) == 0
        before = {name: nodes.clone() for name, nodes in left.items()}
        for layer in [layer for layer in graph.layers if layer.name in left]:
            for piece in [piece for piece in layer.incoming + layer.outgoing if (piece.parameter, piece.dim) in stay]:
                left[layer.name] &= ~stay[piece.parameter, piece.dim][piece.index].any(dim=1)
        if all(torch.equal(left[name], nodes) for name, nodes in before.items()):
            return left


def _torn_groups(model: nn.Module, graph: NodeGraph, drop: Nodes) -> dict[str, Tensor]:
    """Rows of grouped convolutions that are in a group of which not everything goes, by name of the weight."""
    torn: dict[str, Tensor] = {}
    nodes, tensors = {**no_nodes(graph), **drop}, tensors_of(model)
    made = mark(((piece, nodes[layer.name]) for layer in graph.layers for piece in layer.incoming), tensors)
    read = mark(((piece, nodes[layer.name]) for layer in graph.layers for piece in layer.outgoing), tensors)
    for path, module in model.named_modules():
        groups, name = kind_of(module).num_groups(module), f"{path}.weight"
        if groups > 1:
            weight = module.get_parameter("weight")
            none = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
            whole = made.get((name, 0), none).view(groups, -1).all(dim=1)
            if (name, 0) in read:  # what a group reads is one node, cut by the rows of the group
                whole &= read[name, 0].view(groups, -1).all(dim=1)
            elif weight.shape[1] > 1:  # every group reads the same nodes, cut by their columns
                whole &= read.get((name, 1), none).all()
            # else a depthwise filter between a node's parts, which goes with its rows
            torn[name] = ~whole.repeat_interleave(len(weight) // groups)
    return torn


@torch.no_grad()
def _agrees(model: nn.Module, graph: NodeGraph, drop: Nodes, example_inputs: Any) -> bool:
    """Whether the copy without the nodes computes the same on random weights and inputs, in double precision."""
    generator = torch.Generator().manual_seed(0)
    whole = plain_copy(model).double()
    drawn = random_inputs(arguments(example_inputs), generator)
    inputs, named = tree_map(lambda x: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x, drawn)
    state = tensors_of(whole)
    for tensor in [tensor for tensor in state.values() if tensor.is_floating_point()]:
        if tensor.ndim > 1:  # a weight, of size one over the root of its inputs
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / math.sqrt(max(1, tensor[0].numel())))
        else:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    for layer in [layer for layer in graph.layers if layer.name in drop]:
        fill(layer.outgoing, state, drop[layer.name], 0.0)
    with eval_mode(whole):
        expected = _flat(whole(*inputs, **named))
        try:
            actual = _flat(cut_out(whole, kept_positions(graph, drop, state))(*inputs, **named))
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
            return False
    return all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-6, atol=1e-9 * float(other.abs().max()))
        for one, other in zip(actual, expected, strict=True)
    )


def _flat(outputs: Any) -> list[Tensor]:
    """All tensors of nested outputs."""
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
