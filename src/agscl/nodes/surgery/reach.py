"""Which nodes an output depends on: forwards from what is not zero, backwards from the heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.activity import Activity
from agscl.nodes.graph import NodeGraph, NodeLayer, Slice
from agscl.nodes.slices import fill
from agscl.nodes.tracing.trace import eval_mode

from .copies import plain_copy, random_like, several

MATRIX = 2
"""From so many dimensions up a tensor reads inputs."""


def dead_nodes(
    model: nn.Module, graph: NodeGraph, example_inputs: Any, tasks: Iterable[int] | None = None
) -> dict[str, Tensor]:
    """Nodes whose contribution to the outputs is exactly zero, whatever the inputs: silent ones and unread ones.

    Args:
        model: The traced model, with its present weights, in eval mode or to be used in it.
        graph: Its nodes.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself.
        tasks: The tasks whose outputs count; all by default.

    Returns:
        By layer, bool, shape ``(num_nodes,)``.
    """
    quiet = silent_nodes(model, graph, example_inputs)
    read = read_nodes(graph, dict(model.state_dict()), tasks)
    return {name: quiet[name] | ~read[name] for name in quiet}


@torch.no_grad()
def silent_nodes(model: nn.Module, graph: NodeGraph, example_inputs: Any) -> dict[str, Tensor]:
    """Nodes whose activation is exactly zero for every input.

    All weights that come into such a node are zero, or come from silent nodes; then its activation is a constant in
    eval mode, and it is looked whether that constant is zero. Arguments as in `dead_nodes`.
    """
    trial = plain_copy(model)
    state = dict(trial.state_dict())
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(random_like(value, generator) for value in several(example_inputs))
    silent = {layer.name: torch.zeros_like(layer.incoming[0].index[:, 0], dtype=torch.bool) for layer in graph.layers}
    while True:
        found = _zero_rows(graph, state)
        if any(nodes.any() for nodes in found.values()):
            zero = zero_readings(trial, graph, inputs)
            found = {name: nodes & zero[name] for name, nodes in found.items()}
        if all(torch.equal(found[name], silent[name]) for name in found):
            return silent
        silent = found
        for layer in graph.layers:
            fill(layer.outgoing, state, silent[layer.name], 0.0)


@torch.no_grad()
def read_nodes(graph: NodeGraph, state: Mapping[str, Tensor], tasks: Iterable[int] | None = None) -> dict[str, Tensor]:
    """Nodes that reach an output: something that is needed reads them with a weight that is not zero.

    Args:
        graph: The nodes.
        state: Their model's state.
        tasks: The tasks whose outputs count; all by default.

    Returns:
        By layer, bool, shape ``(num_nodes,)``.
    """
    ignored: frozenset[str] = frozenset()
    if tasks is not None:
        ignored = graph.head_parameters - frozenset(name for task in tasks for name in graph.head_of(task))
    read = {layer.name: torch.zeros_like(layer.incoming[0].index[:, 0], dtype=torch.bool) for layer in graph.layers}
    while True:
        rows = _unread_rows(graph, read, state)
        found = {layer.name: _is_read(layer, state, rows, ignored) for layer in graph.layers}
        if all(torch.equal(found[name], read[name]) for name in read):
            return read
        read = found


def _is_read(
    layer: NodeLayer,
    state: Mapping[str, Tensor],
    unread: Mapping[str, list[tuple[int, Tensor]]],
    ignored: frozenset[str],
) -> Tensor:
    read = torch.zeros_like(layer.incoming[0].index[:, 0], dtype=torch.bool)
    for piece in layer.outgoing:
        if piece.parameter not in ignored:
            reads = state[piece.parameter] != 0
            for dim, rows in unread.get(piece.parameter, ()):
                reads = reads.index_fill(dim, rows, False)
            read |= _any_along(reads, piece.dim)[piece.index].any(dim=1)
    return read


def _unread_rows(
    graph: NodeGraph, read: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> dict[str, list[tuple[int, Tensor]]]:
    """Positions that make nodes which nothing reads, by tensor."""
    rows: dict[str, list[tuple[int, Tensor]]] = {}
    for layer in graph.layers:
        for piece in layer.incoming:
            rows.setdefault(piece.parameter, []).append((piece.dim, piece.index[~read[layer.name]].flatten()))
    return rows


def _zero_rows(graph: NodeGraph, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {layer.name: all_zero(_matrices(layer.incoming, state), state) for layer in graph.layers}


def all_zero(slices: Iterable[Slice], state: Mapping[str, Tensor]) -> Tensor:
    """Nodes for which all of the slices are exactly zero: bool, shape ``(num_nodes,)``."""
    found = [~_any_along(state[piece.parameter].detach() != 0, piece.dim)[piece.index].any(dim=1) for piece in slices]
    return torch.stack(found).all(dim=0)


def _matrices(slices: Iterable[Slice], state: Mapping[str, Tensor]) -> list[Slice]:
    """The slices that read inputs; all of them if none does."""
    every = list(slices)
    return [piece for piece in every if state[piece.parameter].ndim >= MATRIX] or every


def zero_readings(model: nn.Module, graph: NodeGraph, inputs: tuple[Any, ...]) -> dict[str, Tensor]:
    """Nodes whose activation is zero on all of these inputs, in eval mode: by layer, bool, shape ``(num_nodes,)``."""
    activity = Activity(model, graph)
    with eval_mode(model):
        activity.observe(inputs, {})
    return {name: mean == 0 for name, mean in activity.means().items()}


@torch.no_grad()
def sealed_nodes(graph: NodeGraph, state: Mapping[str, Tensor], frozen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the frozen nodes that read nothing which learns, so that no gradient need go through them.

    There are none if parts of the model learn that no node owns and no head is.

    Args:
        graph: The nodes.
        state: The model's parameters.
        frozen: By layer, nodes that nothing moves: bool, shape ``(num_nodes,)``.
    """
    sealed = {name: nodes.clone() for name, nodes in frozen.items()}
    if not _is_closed(graph, state):
        return {name: torch.zeros_like(nodes) for name, nodes in frozen.items()}
    while True:
        reading = _readers_of(graph, state, sealed)
        found = {layer.name: sealed[layer.name] & ~_touched(layer, reading) for layer in graph.layers}
        if all(torch.equal(found[name], sealed[name]) for name in sealed):
            return sealed
        sealed = found


def _readers_of(graph: NodeGraph, state: Mapping[str, Tensor], sealed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights other than zero that read a node which is not sealed, by name: bool masks."""
    reading: dict[str, Tensor] = {}
    for layer in graph.layers:
        for piece in layer.outgoing:
            mask = torch.zeros_like(state[piece.parameter], dtype=torch.bool)
            mask.index_fill_(piece.dim, piece.index[~sealed[layer.name]].flatten(), True)
            reading[piece.parameter] = reading.get(piece.parameter, False) | (mask & (state[piece.parameter] != 0))
    return reading


def _touched(layer: NodeLayer, marked: Mapping[str, Tensor]) -> Tensor:
    """Nodes with a marked position among what comes into them."""
    touched = torch.zeros_like(layer.incoming[0].index[:, 0], dtype=torch.bool)
    for piece in layer.incoming:
        if piece.parameter in marked:
            touched |= _any_along(marked[piece.parameter], piece.dim)[piece.index].any(dim=1)
    return touched


def _is_closed(graph: NodeGraph, state: Mapping[str, Tensor]) -> bool:
    """Whether nodes and heads own all that learns."""
    owned = dict.fromkeys(state, 0)
    for layer in graph.layers:
        for piece in layer.incoming:
            if piece.parameter in owned:
                owned[piece.parameter] += piece.index.numel() * (piece.dim == _row_dim(graph, piece.parameter))
    others = graph.head_parameters | set(graph.shared)
    return all(
        owned[name] == tensor.shape[_row_dim(graph, name)]
        for name, tensor in state.items()
        if tensor.requires_grad and name not in others
    )


def _row_dim(graph: NodeGraph, name: str) -> int:
    """The dimension along which a parameter makes nodes."""
    return next((p.dim for layer in graph.layers for p in layer.incoming if p.parameter == name), 0)


def _any_along(mask: Tensor, dim: int) -> Tensor:
    return mask.movedim(dim, 0).flatten(1).any(dim=1) if mask.ndim > 1 else mask
